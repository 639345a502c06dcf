"""Where it runs: one `Job` interface over the ways to start training."""

from scalebook.launch.job import Job, JobState, Progress
from scalebook.launch.registry import find, jobs, resume, submit
from scalebook.launch.slurm import slurm_answers
from scalebook.launch.watch import watch

__all__ = [
    "Job",
    "JobState",
    "Progress",
    "find",
    "jobs",
    "resume",
    "slurm_answers",
    "submit",
    "watch",
]
