"""Finding runs in the results folders and summing each one up as a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from scalebook.contract import EVIDENCE, TRIALS, RunFiles, ScalebookError, Stem, takes_dataset
from scalebook.results import manifests, reports, schema
from scalebook.results.files import Problem
from scalebook.results.metrics import METRICS
from scalebook.results.snapshots import Snapshot
from scalebook.study import Study
from scalebook.study.document import read


@dataclass
class Catalogue:
    """All that was found.

    Attributes
    ----------
    rows : list of dict
        Runs, imported files and reported jobs, in the order of `results.runs`.
    runs : dict of str to RunFiles
        Files of each run by stem, relative to the study's root.
    reports : dict of str to Report
        By file, relative to the study's root.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    runs: dict[str, RunFiles] = field(default_factory=dict)
    reports: dict[str, reports.Report] = field(default_factory=dict)


def catalogue(snapshot: Snapshot) -> Catalogue:
    """Read all results of the study; what has not changed is not read again."""
    found = Catalogue()
    _read_reports(snapshot, found)
    _list_runs(snapshot, found)
    taken: dict[str, str] = {}
    summaries = snapshot.of_each(_summed, found.runs.values(), "manifest", "csv")
    for stem, summed in summaries.items():
        run = found.runs[stem]
        found.problems.extend(Problem(*problem) for problem in summed["problems"])
        row = summed["row"]
        if row and row["kind"] == "measured":
            evidence = _may_be_evidence(row) and admitted(snapshot.study, row)
            row = {**row, "evidence": evidence}
        elif row:
            row = _imported(run, row, found, taken)
        if row:
            found.rows.append(row)
    for report in found.reports.values():
        found.rows.extend(reports.run_row(report, job) for job in report.jobs)
    found.rows.sort(key=lambda row: (row.get("started") or "", row["stem"] or "", row["kind"]))
    return found


def is_trial(run: RunFiles) -> bool:
    """Whether a run lies where evidence never does."""
    return run.results.as_posix() == TRIALS


def epoch_table(snapshot: Snapshot, run: RunFiles) -> schema.EpochTable:
    """Read the CSV of a run; without a manifest, another program wrote it."""
    return snapshot.read(schema.read_epochs, run.csv, not snapshot.holds(run.manifest))


def _read_reports(snapshot: Snapshot, found: Catalogue) -> None:
    jobs: dict[str, str] = {}
    for name in snapshot.names(reports.FOLDER, ".yaml", ".yml"):
        where = f"{reports.FOLDER}/{name}"
        try:
            report = read(reports.Report, snapshot.root, where)
        except ScalebookError as error:
            found.problems.append(Problem.of(error, where))
            continue
        twice = next((name for name in report.owners if name in jobs), None)
        if twice is not None:
            problem = f"{twice!r} is already reported by {jobs[twice]}; file left out"
            found.problems.append(Problem(where, None, "jobs", problem))
            continue
        jobs.update(dict.fromkeys(report.owners, where))
        found.reports[where] = report


def _list_runs(snapshot: Snapshot, found: Catalogue) -> None:
    """Files of all runs, by stem; the first folder wins."""
    for folder in (EVIDENCE, TRIALS):
        stems = {
            name.removesuffix(suffix)
            for kind, suffix in (("manifests", ".json"), ("csv", ".csv"))
            for name in snapshot.names(f"{folder}/{kind}", suffix)
        }
        for stem in sorted(stems):
            run = RunFiles(Path(folder), stem)
            if stem in found.runs:
                file = run.csv if snapshot.holds(run.csv) else run.manifest
                problem = f"the run is in {EVIDENCE} too, which is used; remove one of the two"
                found.problems.append(Problem(file.as_posix(), None, None, problem))
            else:
                found.runs[stem] = run


def _summed(snapshot: Snapshot, run: RunFiles) -> dict[str, Any]:
    """``row`` of a run by its own files alone, None where they are wrong; ``problems`` in them."""
    problems: list[Problem] = []
    if snapshot.holds(run.manifest):
        row = _measured(snapshot, run, problems)
    else:
        table = epoch_table(snapshot, run)
        problems.extend(table.problems)
        row = {"kind": "imported", "note": "; ".join(table.notes), **_measures(table.frame)}
    return {"row": row, "problems": problems}


def _measured(snapshot: Snapshot, run: RunFiles, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        manifest, _ = manifests.read(snapshot.root / run.manifest, run.manifest.as_posix())
    except ScalebookError as error:
        problems.append(Problem.of(error, run.manifest.as_posix()))
        return None
    row = {**manifests.row(manifest), "local": is_trial(run), "epochs_done": 0}
    wrong, has_csv = False, snapshot.holds(run.csv)
    if has_csv:
        table = epoch_table(snapshot, run)
        wrong = bool(table.errors)
        problems.extend(table.problems)
        row.update(_measures(table.frame))
    done = row["epochs_done"]
    if manifest.ended != "completed":
        row["status"] = manifest.ended or "running"
    elif not wrong and done == manifest.epochs:
        row["status"] = "finished"
    else:
        row["status"] = "incomplete"
        if not wrong:
            problem = (
                f"holds {done} epochs, the manifest of the completed run says {manifest.epochs}"
            )
            if not has_csv:
                problem = "no such file, though the manifest says that the run completed"
            problems.append(Problem(run.csv.as_posix(), None, None, problem))
    return row


def _may_be_evidence(row: dict[str, Any]) -> bool:
    return row["status"] == "finished" and not row["local"]


def admitted(study: Study, row: dict[str, Any]) -> bool:
    """Whether a rule takes the run of a row of the catalogue, wherever its files lie."""
    subset = bool(row["subset"])
    images = row["train_images"]
    return any(
        rule.admits(row["experiment"], row["system"], row["epochs"], subset, images)
        and takes_dataset(rule.dataset_names, row["dataset"])
        for rule in study.evidence
    )


def _imported(
    run: RunFiles, own: dict[str, Any], found: Catalogue, taken: dict[str, str]
) -> dict[str, Any] | None:
    """Row of a CSV without manifest, joined to its reported job; None if there is none."""
    where = run.csv.as_posix()
    match = _reported_job(run.stem, found)
    if isinstance(match, str):
        found.problems.append(Problem(where, None, None, f"{match}; never aggregated"))
        return None
    file, job = match
    if job.job_id in taken:
        problem = f"reported job {job.job_id} has {taken[job.job_id]} already; never aggregated"
        found.problems.append(Problem(where, None, None, problem))
        return None
    taken[job.job_id] = where
    notes = [f"imported: no manifest, configuration from {file}", own["note"]]
    row = {
        **reports.configuration_row(found.reports[file], job),
        **own,
        "stem": run.stem,
        "local": is_trial(run),
        "note": "; ".join(filter(None, notes)),
    }
    done = row["epochs_done"]
    row["epochs"] = row["epochs"] or done
    row["status"] = "finished" if done and done >= row["epochs"] else "incomplete"
    row["evidence"] = _may_be_evidence(row)
    return row


def _reported_job(stem: str, found: Catalogue) -> tuple[str, reports.Job] | str:
    """Report and job of a foreign CSV, by file name, else by job id; or why there is none."""
    jobs = [(file, job) for file, report in found.reports.items() for job in report.jobs]
    for file, job in jobs:
        if job.stem == stem:
            return file, job
    try:
        parsed = Stem.parse(stem)
    except ScalebookError:
        return "has no manifest, its name is not the stem of a run and no reported file lists it"
    for file, job in jobs:
        if job.job_id == parsed.job_id:
            ranks, device = job.configuration.world_size, job.configuration.device
            if (ranks, device) != (parsed.world_size, parsed.device):
                return (
                    f"has no manifest, and its name says {parsed.world_size}{parsed.device} where "
                    f"{file} says {ranks}{device} for job {job.job_id}"
                )
            return file, job
    return f"has no manifest, and no file in {reports.FOLDER} reports job {parsed.job_id}"


def _measures(epochs: pd.DataFrame) -> dict[str, Any]:
    """What the rows of a CSV say of the run."""
    measures = METRICS.values() if len(epochs) else ()
    return {
        "epochs_done": len(epochs),
        **{metric.name: metric.measure(epochs) for metric in measures},
    }
