"""Jobs on this machine: a supervisor process of its own session runs torchrun."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from scalebook import contract
from scalebook.launch.job import STATE_OF_END, Choice, Job, JobState, after_completion
from scalebook.launch.processes import GRACE_S, end_processes, environment_of_job
from scalebook.launch.waiting import looks
from scalebook.study import System


class LocalJob(Job):
    """A job on this machine."""

    launcher = "local"
    required = ("pid", "pid_created")

    @classmethod
    def system_here(cls, systems: Mapping[str, System]) -> Choice | None:
        """The first one; `SlurmJob` is asked before."""
        return Choice(next(iter(systems)), "no Slurm on this machine") if systems else None

    @classmethod
    def submit(cls, resolved: dict[str, Any], root: Path, after: Sequence[Job] = ()) -> LocalJob:
        """Start training in the background."""
        job = cls(cls.new_folder(resolved, root).name, root)
        job._start()
        return job

    def resume(self) -> LocalJob:
        """Start it again from its last checkpoint, under the same id."""
        self.forget_end()
        self._start("--resume")
        return self

    def _start(self, *options: str) -> None:
        environment = {
            **environment_of_job(),
            "SCALEBOOK_ROOT": str(self.root),
            "SCALEBOOK_JOB_ID": self.id,
            "SCALEBOOK_PROGRESS": str(self.folder / "progress.json"),
        }
        with open(self.folder / "output.log", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "scalebook.launch.supervise", str(self.folder), *options],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        created = psutil.Process(process.pid).create_time()
        self.write_notes(self.folder, contract.utc_now(), pid=process.pid, pid_created=created)

    def state(self) -> JobState:
        """Ask what the job is doing."""
        if end := self._end():
            state = JobState[end["state"]]
            if end.get("manifest") == "open":
                self.finish(state, end["reason"], end["exit_code"])
            return state
        if self._supervisor() is not None:
            return JobState.RUNNING
        # It may have noted the end between the two looks.
        if end := self._end():
            return JobState[end["state"]]
        if self.ranks():
            return JobState.RUNNING
        # What the run noted itself outlives a supervisor that was killed.
        return STATE_OF_END.get(self.last_attempt().get("ended", ""), JobState.FAILED)

    def reason(self) -> str:
        """Why it ended as it did."""
        if end := self._end():
            return str(end.get("reason", ""))
        if not self.state().finished:
            return ""
        attempt = self.last_attempt()
        if attempt.get("ended"):
            return attempt.get("reason") or ""
        return (
            "its supervisor is gone (was the machine restarted?); "
            f"go on from the last checkpoint with: scalebook run --resume {self.id}"
        )

    def cancel(self) -> None:
        """End every rank, politely at first."""
        if (state := self.state()).finished:
            if self._end() is None:
                # Nobody was left to note it; the manifest may still call the attempt open.
                self.finish(state, self.reason())
            return
        supervisor = self._supervisor()
        if supervisor is not None:
            supervisor.send_signal(signal.SIGTERM)
            for _ in looks(0.1, timeout_s=2 * GRACE_S):
                if self._end() or self._supervisor() is None:
                    break
        end_processes(self.ranks())
        if self._end() is None:
            self.finish(JobState.CANCELLED, "cancelled")

    def finish(
        self,
        state: JobState,
        reason: str,
        exit_code: int | None = None,
        ended: str | None = None,
    ) -> None:
        """Note the job's end, in its folder and, where the run could not, in its manifest.

        Parameters
        ----------
        ended : str, optional
            What the manifest calls it, one of `contract.ENDED`; as the state says where left out.
        """
        if self.last_attempt().get("ended") == "completed":
            state = JobState.COMPLETED
            reason = after_completion(reason) if reason else ""
        end = {
            "state": state.name,
            "reason": reason,
            "exit_code": exit_code,
            "end": contract.utc_now(),
        }
        if not self.close_manifest(ended or state.end, reason):
            end["manifest"] = "open"
        contract.write_json(self.folder / "state.json", end)

    def _end(self) -> dict[str, Any] | None:
        """What `finish` noted."""
        path = self.folder / "state.json"
        return contract.read_json(path) if path.is_file() else None

    def _supervisor(self) -> psutil.Process | None:
        notes = self.notes
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(notes["pid"])
            # The number may belong to another process by now.
            same = abs(process.create_time() - notes["pid_created"]) < 1.0
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def ranks(self) -> list[psutil.Process]:
        """Every living process of the job but the supervisor, found by its environment."""
        others = (self.notes["pid"], os.getpid())
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid in others or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                environment = process.environ()
                if environment.get("SCALEBOOK_JOB_ID") != self.id:
                    continue
                # Where the study was moved meanwhile, the working folder has moved with it.
                if str(self.root) in (environment.get("SCALEBOOK_ROOT"), process.cwd()):
                    mine.append(process)
        return mine
