"""``python -m scalebook.train --experiment RESOLVED.json [--resume [STEM]] [--profile]``.

Exit status 0: trained; 1: failed, with one line on standard error; 2: wrong usage;
75 (`contract.REQUEUE`): stopped before the time limit, with a checkpoint to go on from.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.train import failures, records, stop
from scalebook.train.privacy import clean_path, clean_text

if TYPE_CHECKING:
    from scalebook.train.run import Attempt


def main(argv: list[str] | None = None) -> int:
    """Run one training process; returns its exit status."""
    arguments = _parser().parse_args(argv)
    stop.listen(early=True)
    # PyTorch's C++ half tells of a lost rank in some hundred lines; we do in one.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        root = contract.find_root()
        resolved = Path(arguments.experiment)
        # Only now: torch takes seconds to import, and wrong usage should not wait for it.
        from scalebook.train import distributed, run, settings

        configured = settings.read(resolved, profile=arguments.profile)
        ranks = distributed.start(configured.layout, configured.training.timeout_s)
        stop.listen()
    except ScalebookError as error:
        return _print_error(error)

    command = ["python", "-m", "scalebook.train", "--experiment",
               clean_path(str(resolved.resolve()), root)]  # fmt: skip
    if arguments.resume is not None:
        command += ["--resume", *filter(None, [arguments.resume])]
    command += ["--profile"] * arguments.profile
    attempt = run.Attempt(configured, ranks, root, command, arguments.resume)

    def expired() -> NoReturn:
        _end(attempt, "failed", f"rank {ranks.rank}, {attempt.where}: no progress for "
             f"{ranks.timeout_s:g} s (timeout_s): a rank hangs: look at its node, then continue "
             "with --resume")  # fmt: skip
        os._exit(1)

    try:
        run.execute(attempt, expired)
    except BaseException as error:  # whatever it is, the manifest must say so
        status = _failed(attempt, error)
        if ranks.world_size > 1:
            # Ending the process is what tells the other ranks; leaving a process group in
            # which one of them hangs could take forever.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        return status
    finally:
        stop.ignore_time_limit()
        if attempt.checkpoints:
            attempt.checkpoints.unlock()
    distributed.leave(ranks)
    return 0


def _failed(attempt: Attempt, error: BaseException) -> int:
    """Tell a failure once, in one line; returns the exit status."""
    lost = failures.as_peer_lost(error, attempt.ranks, attempt.where)
    error = lost or error
    if isinstance(error, stop.Stopped):
        reports = attempt.ranks.first or not error.together
        _end(attempt, error.ended, str(error), reports=reports)
        if error.together:
            attempt.ranks.leave_together()
        return error.exit_status
    if isinstance(error, failures.SharedFailure):
        _end(attempt, "failed", str(error), reports=error.reports)
        attempt.ranks.leave_together()
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        _end(attempt, "interrupted", "interrupted from the keyboard: continue it with --resume")
        return 1
    if isinstance(error, SystemExit):
        raise error
    cause = failures.known_cause(error, attempt.where)
    if cause:
        _end(attempt, "failed", cause)
        return getattr(error, "exit_status", 1)
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    _end(
        attempt,
        "failed",
        f"{attempt.where}: {type(error).__name__}: {failures.first_line(error)} (a fault in the "
        "program; the log holds the traceback)",
        trace,
    )
    return 1


def _end(attempt: Attempt, ended: str, reason: str, trace: str = "", reports: bool = True) -> None:
    """Close the manifest and say why, on one rank; the others wait for it.

    That is the first rank to know it; of those that know it together, the one that `reports`.
    """
    if not reports or not attempt.ranks.first_to_report():
        attempt.ranks.wait_reported()
        return
    try:
        _write_end(attempt, ended, reason, trace)
    finally:
        attempt.ranks.mark_reported()


def _write_end(attempt: Attempt, ended: str, reason: str, trace: str) -> None:
    reason = " ".join(clean_text(reason, attempt.root).split())
    if attempt.files is None:  # then there is nothing to continue
        reason = reason.replace("continue with --resume", "start it again")
    with contextlib.suppress(OSError):
        if attempt.checkpoints:
            attempt.checkpoints.release_reserve()
    if attempt.files:
        with contextlib.suppress(OSError, ScalebookError):
            contract.close_attempt(attempt.files.manifest, ended, reason)
        with contextlib.suppress(OSError):
            tail = clean_text(trace, attempt.root)
            records.append_log(attempt.files, f"{contract.utc_now()} {ended}: {reason}\n{tail}")
    elif trace:
        print(clean_text(trace, attempt.root), file=sys.stderr)
    print(f"scalebook.train: {reason}", file=sys.stderr, flush=True)


def _print_error(error: ScalebookError) -> int:
    """Tell a failure before there is a run; of several ranks on one node the first speaks."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"scalebook.train: {error}", file=sys.stderr, flush=True)
    return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scalebook.train",
        description="Train one run of a resolved experiment, alone or under torchrun.",
    )
    parser.add_argument(
        "--experiment",
        required=True,
        metavar="RESOLVED.json",
        help="resolved experiment, as `scalebook resolve EXPERIMENT` writes it",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="STEM",
        help="continue a run: the one named, or the one of this job id",
    )
    parser.add_argument("--profile", action="store_true", help="write a trace of some steps")
    return parser


if __name__ == "__main__":
    sys.exit(main())
