"""Where it runs: one `Job` interface over the ways to start training."""

from scalebook.launch.collecting import collect
from scalebook.launch.job import Job, JobState, Progress
from scalebook.launch.registry import find, jobs, pick_system, resume, submit, submit_array
from scalebook.launch.slurm.job import SlurmJob, slurm_answers
from scalebook.launch.watch import watch

__all__ = [
    "Job",
    "JobState",
    "Progress",
    "SlurmJob",
    "collect",
    "find",
    "jobs",
    "pick_system",
    "resume",
    "slurm_answers",
    "submit",
    "submit_array",
    "watch",
]
