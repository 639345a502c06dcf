"""Outputs that jobs really printed: the rank that failed first is found, and what to do is said.

The files in ``recorded/logs`` are outputs of jobs on the small cluster, with paths made relative
and call stacks and epochs shortened.
"""

import pytest
from paths import REPOSITORY

from scalebook.launch import JobState
from scalebook.launch.diagnose import diagnose, failure_line

LOGS = REPOSITORY / "tests" / "recorded" / "logs"

# Cause, and what the line that says why holds and must not hold.
SEEN = {
    "container-missing": ("container", "apptainer: not found", "task 0"),
    "dataset-missing": ("data set is missing", "scalebook data get", "task 0"),
    "disk-full": ("disk is full", "disk is full", "Traceback"),
    "memory-inherited": ("inherited", "mutually exclusive", "task 0"),
    "missing-first-rank": ("did not start", "rank 1 could not join", "frame #"),
    "missing-rank": ("did not start", "1/2 clients joined", "task 1"),
    "out-of-memory": ("out of memory on the node", "task 1: Out Of Memory", "lost contact"),
    "port-taken": ("port is taken", "EADDRINUSE", "Connection reset"),
    "python-missing": ("Python or a package", "python: not found", "task 0"),
    "rank-error": (None, "ValueError: number of things is wrong", "settings:"),
    "rank-hangs": ("a rank hangs", "did not answer for 6 s", "task 1"),
    "rank-killed": ("a rank was killed", "task 1: Killed", "lost contact"),
    "rank-killed-labelled": ("a rank was killed", "task 1: Killed", "lost contact"),
    "time-limit": ("time limit", "DUE TO TIME LIMIT", "epoch"),
    "torch-missing": ("Python or a package", "No module named 'torch'", "frame #"),
    "torch-missing-cut": (None, "task 1: Exited with exit code 1", "task 0"),
    "unknown-host": ("name of the first node", "connect to (nosuchhost", "frame #"),
    "unreachable-interface": ("cannot reach each other", "connectFullMesh failed", "task 1"),
    "wrong-interface": ("interface does not exist", "Unable to find address for: ib0", "task 0"),
}

# As PyTorch and NCCL document or print them on GPUs.
PRINTED = {
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.00 MiB.": "on the GPU",
    "scalebook.train: rank 0, epoch 1: out of memory: lower global_batch": "out of memory",
    "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version "
    "11040).\nscalebook.train: the experiment was resolved for a GPU and torch sees none here":
        "driver",
    "scalebook.train: the experiment was resolved for a GPU and torch sees none here": "no GPU",
    "node1:13:13 [0] bootstrap.cc:37 NCCL WARN Bootstrap : no socket interface found": "interface",
    "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1207": "NCCL failed",
    "slurmstepd: error: *** JOB 7 ON node1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE, "
    "SEE SLURMCTLD LOG FOR DETAILS ***": "node was lost",
    "OSError: [Errno 28] No space left on device": "disk is full",
    "srun: error: node2: task 0: Exited with exit code 137": "a rank was killed",
}  # fmt: skip


def recorded(name):
    return (LOGS / f"{name}.txt").read_text()


def test_every_recording_is_expected_to_say_something():
    assert {path.stem for path in LOGS.glob("*.txt")} == set(SEEN)


@pytest.mark.parametrize("name", SEEN)
def test_the_cause_and_the_first_failing_rank_are_found(name):
    cause, there, absent = SEEN[name]
    found = diagnose(recorded(name), JobState.FAILED)
    assert (found is None) if cause is None else (cause in found.cause), found
    line = failure_line(recorded(name))
    assert there in line
    assert absent not in line
    assert "\n" not in line


@pytest.mark.parametrize("text", PRINTED)
def test_causes_that_need_a_gpu_or_a_broken_node_are_known(text):
    assert PRINTED[text] in diagnose(text, JobState.FAILED).cause


def test_what_the_scheduler_knows_is_not_guessed():
    text = recorded("port-taken")
    assert "time limit" in diagnose(text, JobState.TIMEOUT).cause
    assert "memory" in diagnose(text, JobState.OUT_OF_MEMORY).cause
    assert "node was lost" in diagnose("", JobState.NODE_FAIL).cause
    for state in (JobState.COMPLETED, JobState.CANCELLED, JobState.RUNNING, JobState.PENDING):
        assert diagnose(text, state) is None


def test_advice_is_one_line():
    for name in SEEN:
        if found := diagnose(recorded(name), JobState.FAILED):
            assert "\n" not in found.advice


def test_only_the_last_attempt_of_a_requeued_job_counts():
    requeued = (
        "slurmstepd: error: *** JOB 9 ON node1 CANCELLED AT 2026-01-01T00:00:00 DUE TO JOB "
        "REQUEUE ***\n"
    )
    text = recorded("port-taken") + requeued + recorded("dataset-missing")
    assert "data set" in diagnose(text, JobState.FAILED).cause
    assert "no CIFAR-10 there" in failure_line(text)
    assert "EADDRINUSE" in failure_line(recorded("port-taken") + requeued)


def test_a_controller_that_is_away_as_ranks_start_is_the_cause():
    text = (
        "srun: error: Unable to confirm allocation for job 12: Unable to contact slurm controller"
    )
    found = diagnose(text, JobState.FAILED)
    assert "did not answer" in found.cause and "--resume JOB" in found.advice


@pytest.mark.parametrize(
    ("output", "line"),
    {
        "x\n1: scalebook.train: no such file\nsrun: error: y": "no such file",
        "ValueError: inner\nscalebook.train: no data set\n[W] torch noise\n": "no data set",
        "noise\nRuntimeError: it broke\nmore noise": "RuntimeError: it broke",
        "[rank1]: Traceback (most recent call last):\n[rank1]: torch.OutOfMemoryError: 2 GiB\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n":
            "torch.OutOfMemoryError: 2 GiB",
        "srun: error: y": "srun: error: y",
        "": "",
    }.items(),
)  # fmt: skip
def test_the_line_that_says_why_is_found_in_any_programs_output(output, line):
    assert failure_line(output) == line


@pytest.mark.parametrize("text", ["", "\n\n", "\x00\x1b[0m", "1: ", "srun: error: x: task 1: "])
def test_odd_outputs_are_no_trouble(text):
    assert diagnose(text, JobState.FAILED) is None
    failure_line(text)


def test_an_ordinary_output_is_shown_where_nothing_failed():
    text = "2026-01-01T00:00:00Z run x attempt 1\nepoch   1/2  train 1.0\n"
    assert failure_line(text) == "epoch   1/2  train 1.0"
