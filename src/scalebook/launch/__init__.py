"""Where it runs: one `Job` interface over the ways to start training."""

from scalebook.launch.collecting import collect
from scalebook.launch.job import Choice, Job, JobState, Progress
from scalebook.launch.registry import (
    find,
    jobs,
    pick_system,
    resume,
    submit,
    submit_array,
    submit_once,
)
from scalebook.launch.slurm.job import SlurmJob
from scalebook.launch.watch import watch

__all__ = [
    "Choice",
    "Job",
    "JobState",
    "Progress",
    "SlurmJob",
    "collect",
    "find",
    "jobs",
    "pick_system",
    "resume",
    "submit",
    "submit_array",
    "submit_once",
    "watch",
]
