"""Run the packed runs of a campaign on a machine that has torch and torchvision alone.

``python -m scalebook.train.tools.campaign RUNS.json --budget 8m --out RESULTS.tar.gz``, with
``PYTHONPATH=src``, in the folder of the study. `scalebook run --all --pack` writes the one file,
`scalebook collect` takes in the other. Each run is a process of its own; called again, it goes on
with what is not finished. Exit status 0: every run is finished; 1: some are not; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem, UsageError
from scalebook.train.images import finding
from scalebook.train.settings import DatasetSettings

SCHEMA = "scalebook.packed/1"

#: Most bytes of an archive, so that it passes where files are limited.
LIMIT = 16 * 1000 * 1000

#: Runs that fail before any is done, after which no other is started: each would fail alike.
_FAILED = 3

#: Seconds in which a run that is stopped writes its checkpoint.
GRACE_S = 15.0


class Budget:
    """Time that runs may take, one after the other.

    Parameters
    ----------
    text : str
        Such as ``8m``, ``90s`` or ``1.5h``.
    """

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", text)
        if match is None or not float(match[1]):
            raise UsageError(f"--budget {text}: write a time such as 8m, 90s or 1.5h")
        self._text = text
        self._end = time.monotonic() + float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
        self._longest = 0.0

    def __str__(self) -> str:
        return self._text

    @property
    def left_s(self) -> float:
        """Seconds until it is used up."""
        return max(0.0, self._end - time.monotonic())

    @property
    def allows_another(self) -> bool:
        """Whether there is time for a run that takes as long as the longest so far."""
        return self.left_s > self._longest

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Time one run."""
        begun = time.monotonic()
        yield
        self._longest = max(self._longest, time.monotonic() - begun)


def main(argv: list[str] | None = None) -> int:
    """Run what is not finished within the budget, and write the archive; the exit status."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the archive is written first
    try:
        root, budget = contract.find_root(), Budget(arguments.budget)
        document = contract.read_json(arguments.runs)
        runs = _runs(document, arguments.runs)
        os.environ.update(_code(document, root))
        unfinished = len(runs)
        try:
            unfinished = _run_all(runs, root, budget)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        finally:
            _pack([files for run in runs if (files := _files(run, root))], arguments.out)
    except (ScalebookError, OSError) as error:
        print(f"scalebook.train.tools.campaign: {error}", file=sys.stderr, flush=True)
        return getattr(error, "exit_status", 1)
    return int(unfinished > 0)


def _runs(document: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Packed runs, in their order."""
    runs = document.get("runs")
    try:
        if document.get("schema") != SCHEMA or not isinstance(runs, list):
            raise TypeError
        for run in runs:
            _stem(run), str(run["label"]), DatasetSettings(**run["resolved"]["dataset"])
    except (KeyError, TypeError):
        raise UsageError(
            f"{path}: is no file of packed runs: write one with `scalebook run --all "
            "--campaign NAME --pack FILE`"
        ) from None
    return runs


def _code(document: dict[str, Any], root: Path) -> dict[str, str]:
    """What tells a run its commit, where the sources came without ``.git``."""
    code = document.get("code") or {}
    if not code.get("commit") or (root / ".git").exists() or os.environ.get("SCALEBOOK_COMMIT"):
        return {}
    return {"SCALEBOOK_COMMIT": code["commit"], "SCALEBOOK_DIRTY": str(int(bool(code["dirty"])))}


def _stem(run: dict[str, Any]) -> str:
    """Stem of a packed run; its job id was given to it when it was packed."""
    resolved = run["resolved"]
    layout = resolved["layout"]
    return str(Stem(resolved["experiment"], run["job"], layout["world_size"], layout["device"]))


def _files(run: dict[str, Any], root: Path) -> RunFiles | None:
    """Files of a packed run, where it has begun."""
    return contract.locate(root, _stem(run))


def _ended(files: RunFiles | None) -> tuple[str, str]:
    """How the last attempt of a run ended, and why; empty where there is none."""
    attempts = contract.attempts_of(contract.read_json(files.manifest)) if files else []
    last = attempts[-1] if attempts else {}
    return last.get("ended") or "", last.get("reason") or ""


# --------------------------------------------------------------------------- running


def _run_all(runs: list[dict[str, Any]], root: Path, budget: Budget) -> int:
    """Run one after the other, a line each; how many are not finished then."""
    datasets = (run["resolved"]["dataset"] for run in runs)
    for source in {(dataset["source"], dataset["dir"]): dataset for dataset in datasets}.values():
        # Nobody asked for generated images: without those of the study nothing is measured.
        finding.find(DatasetSettings(**source), root)
    unfinished, done = 0, 0
    stopped = ""
    for number, run in enumerate(runs, 1):
        line = f"[{number}/{len(runs)}] {run['label']}"
        if _ended(_files(run, root))[0] == "completed":
            done += 1
            print(f"{line}: finished before", flush=True)
            continue
        if not budget.allows_another:
            stopped = stopped or f"the budget of {budget} is used up"
        if stopped:
            unfinished += 1
            print(f"{line}: left out, since {stopped}", flush=True)
            continue
        begun = time.monotonic()
        with budget.run():
            problem = _run(run, root, budget.left_s)
        print(f"{line}: {problem or 'done'}, {time.monotonic() - begun:.0f} s", flush=True)
        done, unfinished = done + (not problem), unfinished + bool(problem)
        if not done and unfinished == _FAILED:  # no GPU, perhaps
            stopped = f"the first {unfinished} runs failed"
    return unfinished


def _run(run: dict[str, Any], root: Path, most_s: float) -> str:
    """Run or continue one; what went wrong, in one line."""
    folder = root / ".scalebook" / "packed"
    resolved = folder / f"{run['job']}.json"
    contract.write_json(resolved, run["resolved"])
    # What a launcher around this one says of its own ranks is nothing to this run.
    others = ("SLURM_", "TORCHELASTIC_")
    ranks = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"}
    environment = {
        **{name: value for name, value in os.environ.items()
           if name not in ranks and not name.startswith(others)},
        "SCALEBOOK_ROOT": str(root), "SCALEBOOK_JOB_ID": run["job"], "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    # With --resume a run that has begun goes on, and one that has not begins.
    command = [sys.executable, "-m", "scalebook.train", "--experiment", str(resolved), "--resume"]
    with open(folder / f"{run['job']}.log", "wb") as output:
        child = subprocess.Popen(
            command, cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            child.wait(most_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _stop(child)
            if files := _files(run, root):
                status = f"ended with status {child.returncode}"
                contract.close_attempt(files.manifest, "killed", status)
    ended, reason = _ended(files)
    if ended == "completed":
        return ""
    text = (folder / f"{run['job']}.log").read_text(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()] or ["it printed nothing"]
    return f"{ended or 'failed'}: {reason or lines[-1]}"


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a run that is still at work: politely, so that it writes a checkpoint, then at once."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


# --------------------------------------------------------------------------- packing


def _pack(runs: list[RunFiles], out: Path) -> None:
    """Write an archive of the runs, whole or not at all; what is too large is left out, and told.

    A run whose trace had to stay away would be damaged, so it is left out itself: profiled runs
    first and the last of them first, then the others, the last first.
    """
    kept = list(runs)
    profiled = [run for run in runs if run.trace(0).is_file()]
    order = [run for run in runs if run not in profiled] + profiled
    while len(data := _tar(kept)) > LIMIT:
        last = order.pop()
        kept.remove(last)
        print(f"left out of {out}, which may have {LIMIT // 10**6} MB: {last.stem}", flush=True)
    contract.write_whole(out, data)
    print(f"{out}: {len(kept)} runs, {len(data) / 1e6:.1f} MB", flush=True)


def _tar(runs: list[RunFiles]) -> bytes:
    """Files of the runs, named as below their folder of results, without owner and mode."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for run in runs:
            for path in (run.csv, run.steps, run.log, run.trace(0), run.utilisation, run.manifest):
                if path.is_file():
                    data = path.read_bytes()
                    member = tarfile.TarInfo(path.relative_to(run.results).as_posix())
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scalebook.train.tools.campaign",
        description="Run packed runs one after the other, and pack their results.",
    )
    parser.add_argument("runs", type=Path, help="as `scalebook run --all --pack` wrote it")
    parser.add_argument("--budget", required=True, help="time for all of them, such as 8m")
    parser.add_argument("--out", type=Path, required=True, metavar="RESULTS.tar.gz")
    return parser


if __name__ == "__main__":
    sys.exit(main())
