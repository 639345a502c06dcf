"""Finding runs in the results folders and summing each one up as a row."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from scalebook import contract, study
from scalebook.contract import ScalebookError, Stem
from scalebook.results import files, manifests, reports, schema
from scalebook.results.files import Problem

#: Folders of results: what may be evidence, and what never is.
FOLDERS = ("results", "results/local")


@dataclass
class Place:
    """Where the files of one run lie."""

    stem: str
    folder: Path
    root: Path
    csv: Path | None = None
    manifest: Path | None = None

    @property
    def local(self) -> bool:
        """Whether it is a trial, never evidence."""
        return files.relative(self.folder, self.root) == FOLDERS[1]

    @property
    def foreign(self) -> bool:
        """Whether another program wrote it."""
        return self.manifest is None

    def where(self, kind: str, suffix: str) -> str:
        """Name of one of its files, relative to the root."""
        return f"{files.relative(self.folder, self.root)}/{kind}/{self.stem}{suffix}"


@dataclass
class Catalogue:
    """All that was found."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    reports: list[reports.ReportFile] = field(default_factory=list)


_last: tuple[object, Catalogue] | None = None


def catalogue() -> Catalogue:
    """Read all results of the study. What has not changed is not read again: do not alter it."""
    global _last
    root = contract.find_root()
    rules = study.load(root).evidence
    listing = {name: _listing(root / name) for name in _READ}
    key = (root, rules, listing)
    if _last is not None and _last[0] == key:
        return _last[1]
    found = _catalogue(root, rules, listing)
    _last = (key, found)
    return found


_READ = (reports.FOLDER, *(f"{name}/{kind}" for name in FOLDERS for kind in ("csv", "manifests")))
_Listing = dict[str, tuple[int, int, int]]


def _listing(folder: Path) -> _Listing:
    """Names of the files of a folder, sorted, with their stamps."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
        stamps = {}
        for entry in sorted(found, key=lambda entry: entry.name):
            # A file that vanishes meanwhile was replaced or removed: the next look sees it.
            with contextlib.suppress(OSError):
                status = entry.stat()
                stamps[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return stamps


def _catalogue(
    root: Path, rules: list[study.EvidenceRule], listing: dict[str, _Listing]
) -> Catalogue:
    found = Catalogue()
    _read_reports(root, list(listing[reports.FOLDER]), found)
    _find(root, listing, found)
    taken: dict[str, str] = {}
    for place in found.places.values():
        try:
            if place.manifest is not None:
                row = _measured(place, rules, found.problems)
            else:
                row = _imported(place, found, taken)
        except FileNotFoundError:
            continue
        if row is not None:
            found.rows.append(row)
    for file in found.reports:
        found.rows.extend(reports.run_row(file, job) for job in file.report.jobs)
    found.rows.sort(key=lambda row: (row.get("started") or "", row["stem"] or "", row["kind"]))
    return found


def _read_reports(root: Path, names: list[str], catalogue: Catalogue) -> None:
    jobs: dict[str, str] = {}
    for name in names:
        if not name.endswith((".yaml", ".yml")):
            continue
        where = f"{reports.FOLDER}/{name}"
        try:
            file = files.unchanged(root / where, reports.read, where)
        except ScalebookError as error:
            catalogue.problems.append(_problem_of(error, where))
            continue
        ids = [job.job_id for job in file.report.jobs] + [e.id for e in file.report.entries]
        twice = next((name for name in ids if name in jobs), None)
        if twice is not None:
            said = f"{twice!r} is already reported by {jobs[twice]}; file left out"
            catalogue.problems.append(Problem(where, None, "jobs", said))
            continue
        jobs.update(dict.fromkeys(ids, where))
        catalogue.reports.append(file)


def _find(root: Path, listing: dict[str, _Listing], catalogue: Catalogue) -> None:
    """Places of all runs, by stem; the first folder wins."""
    for name in FOLDERS:
        here: dict[str, Place] = {}
        for attribute, kind, suffix in (("manifest", "manifests", ".json"), ("csv", "csv", ".csv")):
            for file in listing[f"{name}/{kind}"]:
                if file.endswith(suffix):
                    stem = file.removesuffix(suffix)
                    place = here.setdefault(stem, Place(stem, root / name, root))
                    setattr(place, attribute, root / name / kind / file)
        for stem, place in sorted(here.items()):
            if stem in catalogue.places:
                file = (
                    place.where("csv", ".csv") if place.csv else place.where("manifests", ".json")
                )
                said = f"the run is in {FOLDERS[0]} too, which is used; remove one of the two"
                catalogue.problems.append(Problem(file, None, None, said))
            else:
                catalogue.places[stem] = place


def _measured(
    place: Place, rules: list[study.EvidenceRule], problems: list[Problem]
) -> dict[str, Any] | None:
    where = place.where("manifests", ".json")
    try:
        read, _ = files.unchanged(place.manifest, manifests.read, where)
    except ScalebookError as error:
        problems.append(_problem_of(error, where))
        return None
    row = {**manifests.row(read), "local": place.local, "epochs_done": 0, "evidence": False}
    wrong = False
    if place.csv is not None:
        read_csv = table(place)
        wrong = bool(read_csv.errors)
        problems.extend(read_csv.problems)
        row.update(_measures(read_csv.frame))
    done = row["epochs_done"]
    if read.ended is None:
        row["status"] = "running"
    elif read.ended != "completed":
        row["status"] = read.ended
    elif wrong or done != read.epochs:
        row["status"] = "incomplete"
        if not wrong:
            said = f"holds {done} epochs, the manifest of the completed run says {read.epochs}"
            if place.csv is None:
                said = "no such file, though the manifest says that the run completed"
            problems.append(Problem(place.where("csv", ".csv"), None, None, said))
    else:
        row["status"] = "finished"
    row["evidence"] = (
        row["status"] == "finished" and not place.local and any(_admits(r, row) for r in rules)
    )
    return row


def _admits(rule: study.EvidenceRule, row: dict[str, Any]) -> bool:
    subset = bool(row["subset"])
    images = row["train_images"]
    return rule.admits(row["experiment"], row["system"], row["epochs"], subset, images) and (
        not rule.datasets or row["dataset"] in rule.datasets
    )


def _imported(place: Place, catalogue: Catalogue, taken: dict[str, str]) -> dict[str, Any] | None:
    """Row of a CSV without manifest, joined to its reported job; None if there is none."""
    where = place.where("csv", ".csv")
    read_csv = table(place)
    catalogue.problems.extend(read_csv.problems)
    match = _reported_job(place.stem, catalogue)
    if isinstance(match, str):
        catalogue.problems.append(Problem(where, None, None, f"{match}; never aggregated"))
        return None
    file, job = match
    if job.job_id in taken:
        said = f"reported job {job.job_id} has {taken[job.job_id]} already; never aggregated"
        catalogue.problems.append(Problem(where, None, None, said))
        return None
    taken[job.job_id] = where
    row = {
        **reports.configuration_row(file.report, job),
        **_measures(read_csv.frame),
        "stem": place.stem,
        "kind": "imported",
        "local": place.local,
    }
    done = row["epochs_done"]
    row["epochs"] = row["epochs"] or done
    row["status"] = "finished" if done and done >= row["epochs"] else "incomplete"
    row["evidence"] = row["status"] == "finished" and not place.local
    notes = [f"imported: no manifest, configuration from {file.file}", *read_csv.notes]
    row["note"] = "; ".join(notes)
    return row


def _reported_job(stem: str, catalogue: Catalogue) -> tuple[reports.ReportFile, reports.Job] | str:
    """Find the reported job a foreign CSV belongs to, by file name, else by job id, or why none."""
    jobs = [(file, job) for file in catalogue.reports for job in file.report.jobs]
    for file, job in jobs:
        if job.stem == stem:
            return file, job
    try:
        parsed = Stem.parse(stem)
    except ScalebookError:
        return "has no manifest, its name is not the stem of a run and no reported file lists it"
    for file, job in jobs:
        if job.job_id == parsed.job_id:
            said = (job.configuration.world_size, job.configuration.device)
            if said != (parsed.world_size, parsed.device):
                return (
                    f"has no manifest, and its name says {parsed.world_size}{parsed.device} where "
                    f"{file.file} says {said[0]}{said[1]} for job {job.job_id}"
                )
            return file, job
    return f"has no manifest, and no file in {reports.FOLDER} reports job {parsed.job_id}"


def _measures(frame: pd.DataFrame) -> dict[str, Any]:
    """What the rows of a CSV say of the run."""
    accuracy = frame["val_acc"]
    row: dict[str, Any] = {"epochs_done": len(frame)}
    if len(frame):
        row["final_val_acc"] = float(accuracy.iloc[-1])
        row["best_val_acc"] = float(accuracy.max())
        for name in ("throughput", "epoch_time_s"):
            if name in frame.columns:
                row[name] = float(frame[name].median())
    return row


def table(place: Place) -> schema.EpochTable:
    """Read the CSV of a run, or remember it."""
    return files.unchanged(place.csv, schema.read_epochs, place.where("csv", ".csv"), place.foreign)


def _problem_of(error: ScalebookError, where: str) -> Problem:
    return Problem(where, None, None, str(error).removeprefix(where).lstrip(": "))
