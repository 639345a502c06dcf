"""Jobs on this machine: a supervisor process of its own session runs torchrun."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from scalebook import contract
from scalebook.contract import ScalebookError, Stem
from scalebook.launch.job import KERNEL_VARIABLES, Job, JobState, job_folder

#: How long ranks may take to end on their own before they are killed.
GRACE_S = 8.0


def submit(resolved: dict, root: Path) -> LocalJob:
    """Start training in the background.

    Parameters
    ----------
    resolved : dict
        As `scalebook.study.resolve` returns it.
    root : Path
        Folder of the study.
    """
    layout = resolved["layout"]
    while True:
        job_id = contract.new_job_id()
        Stem(resolved["experiment"], job_id, layout["world_size"], layout["device"])
        folder = job_folder(root, job_id)
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
    contract.write_json(folder / "resolved.json", resolved)
    _start(folder, job_id, root, resume=False)
    return LocalJob(job_id, root)


def resume(job: LocalJob) -> LocalJob:
    """Start a finished, unsuccessful job again from its last checkpoint, under the same id."""
    if not job.state().finished:
        raise ScalebookError(f"job {job.id} is still {job.state().value}: nothing to resume")
    for stale in ("state.json", "progress.json"):
        (job.folder / stale).unlink(missing_ok=True)
    _start(job.folder, job.id, job.root, resume=True)
    return job


def _start(folder: Path, job_id: str, root: Path, resume: bool) -> None:
    command = [sys.executable, "-m", "scalebook.launch.supervise", str(folder)]
    environment = {
        **os.environ,
        "SCALEBOOK_ROOT": str(root),
        "SCALEBOOK_JOB_ID": job_id,
        "SCALEBOOK_PROGRESS": str(folder / "progress.json"),
    }
    for name in KERNEL_VARIABLES:
        environment.pop(name, None)
    with open(folder / "output.log", "ab") as output:
        process = subprocess.Popen(
            command + (["--resume"] if resume else []),
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = psutil.Process(process.pid).create_time()
    contract.write_json(
        folder / "job.json",
        {
            "id": job_id,
            "launcher": "local",
            "pid": process.pid,
            "pid_created": started,
            "submitted": contract.utc_now(),
        },
    )


class LocalJob(Job):
    """A job on this machine."""

    def _supervisor(self) -> psutil.Process | None:
        noted = contract.read_json(self.folder / "job.json")
        try:
            process = psutil.Process(noted["pid"])
            # The number may belong to another process by now.
            same = abs(process.create_time() - noted["pid_created"]) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def _final(self) -> dict | None:
        path = self.folder / "state.json"
        return contract.read_json(path) if path.is_file() else None

    def state(self) -> JobState:
        """Ask what the job is doing."""
        if final := self._final():
            return JobState[final["state"]]
        if self._supervisor() is not None:
            return JobState.RUNNING
        # It may have written its last word between the two looks.
        if final := self._final():
            return JobState[final["state"]]
        if self.ranks():
            return JobState.RUNNING
        return _STATES.get(self._own_word().get("ended"), JobState.FAILED)

    def _own_word(self) -> dict:
        """Last attempt as the run itself noted it, which outlives a supervisor that was killed."""
        files = self.files()
        try:
            attempts = contract.read_json(files.manifest).get("attempts") if files else None
        except ScalebookError:
            return {}
        return attempts[-1] if attempts else {}

    def reason(self) -> str:
        """Why it ended as it did."""
        if final := self._final():
            return final.get("reason", "")
        if self.state().finished and self._own_word().get("ended"):
            return self._own_word().get("reason") or ""
        if self.state() is JobState.FAILED:
            return (
                "its supervisor is gone (was the machine restarted?); "
                f"go on from the last checkpoint with: scalebook run --resume {self.id}"
            )
        return ""

    def ranks(self) -> list[psutil.Process]:
        """Every living process of the job but the supervisor, found by its environment."""
        noted = contract.read_json(self.folder / "job.json")
        mine = []
        for process in psutil.process_iter():
            try:
                if process.pid in (noted["pid"], os.getpid()):
                    continue
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                environment = process.environ()
                if environment.get("SCALEBOOK_JOB_ID") != self.id:
                    continue
                # Where the study was moved meanwhile, the working folder has moved with it.
                if str(self.root) in (environment.get("SCALEBOOK_ROOT"), process.cwd()):
                    mine.append(process)
            except psutil.Error:
                continue
        return mine

    def logs(self, lines: int = 40) -> str:
        """Last lines of what all ranks printed."""
        path = self.folder / "output.log"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return "\n".join(text.splitlines()[-lines:])

    def cancel(self) -> None:
        """End every rank, politely at first."""
        if (state := self.state()).finished:
            if self._final() is None:
                # Nobody was left to say so; the manifest may still call the attempt open.
                finish(self, state, self.reason())
            return
        supervisor = self._supervisor()
        if supervisor is not None:
            supervisor.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 2 * GRACE_S
            while time.monotonic() < deadline:
                if self._final() or not supervisor.is_running():
                    break
                time.sleep(0.1)
        end_processes(self.ranks())
        if self._final() is None:
            finish(self, JobState.CANCELLED, "cancelled")


def end_processes(processes: list[psutil.Process], grace_s: float = GRACE_S) -> None:
    """Ask processes to end, and kill those that have not after `grace_s` seconds."""
    for process in processes:
        try:
            process.terminate()
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(alive, timeout=5)


#: What a run says of its own end, in `contract.ENDED`; anything else is a failure.
_STATES = {"completed": JobState.COMPLETED, "cancelled": JobState.CANCELLED}

_ENDED = {
    JobState.COMPLETED: "completed",
    JobState.CANCELLED: "cancelled",
    JobState.FAILED: "failed",
    JobState.TIMEOUT: "timeout",
}


def finish(job: Job, state: JobState, reason: str, exit_code: int | None = None) -> None:
    """Write a job's last word, in its folder and, where the run could not, in its manifest."""
    contract.write_json(
        job.folder / "state.json",
        {"state": state.name, "reason": reason, "exit_code": exit_code, "end": contract.utc_now()},
    )
    files = job.files()
    if files is not None:
        ended = "killed" if reason.startswith("killed") else _ENDED[state]
        contract.close_attempt(files.manifest, ended, reason)


def failure_line(output: str) -> str:
    """The line of a failed job's output that says why, in the training process's own words."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"^scalebook\.train: (?P<why>.+)", r"^(?P<why>\w+(Error|Exception): .+)"):
        for line in reversed(lines):
            if match := re.match(pattern, line):
                return match["why"]
    return lines[-1] if lines else "it printed nothing"
