"""What Slurm really answered about jobs in every state, parsed and told in words.

`recorded/slurm/record.py` made the files on a small cluster.
"""

import datetime as dt
import json

import pytest
from paths import REPOSITORY

from scalebook.launch import JobState
from scalebook.launch.slurm import commands, records
from scalebook.launch.slurm.reasons import waiting_reason
from scalebook.launch.slurm.records import Attempt, Exit, Queued, Shown, Step
from scalebook.launch.slurm.states import Accounting, Run, Verdict, View, judge

RECORDED = REPOSITORY / "tests" / "recorded" / "slurm"
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
LATER = dt.datetime(2026, 12, 1, tzinfo=dt.timezone.utc)
COMPLETED = Run("completed")
NO_RUN = Run()


def recording(event):
    """View of the one job of an event, as all three commands told it."""
    squeue = records.parse_squeue(read(event, "squeue"))
    sacct = records.parse_sacct(read(event, "sacct"))
    shown = records.parse_scontrol_job(read(event, "scontrol"))
    job = max(set(squeue) | set(sacct), key=lambda one: (one.endswith("_2"), one))
    on = Accounting.OFF if event.endswith(".no-accounting") else Accounting.ON
    return View(squeue.get(job), sacct.get(job, ()), shown, on)


def read(event, kind):
    text = (RECORDED / f"{event}.txt").read_text()
    return text.partition(f"$ {kind}\n")[2].partition("$ ")[0]


def judged(view, run=NO_RUN, now=LATER, submitted=LONG_AGO, last=None):
    return judge(view, run, submitted, now, last)


# --------------------------------------------------------------------------- the table of states

ENDED = {
    "completed": (JobState.COMPLETED, ""),
    "failed": (JobState.FAILED, "exit status 9"),
    "killed": (JobState.FAILED, "signal 9 (SIGKILL)"),
    "step-failed": (JobState.FAILED, "step 0 ended with exit status 9, though the script ended"),
    "out-of-memory": (JobState.OUT_OF_MEMORY, "more memory than the job was given"),
    "step-out-of-memory": (JobState.OUT_OF_MEMORY, "in step 0"),
    "cancelled": (JobState.CANCELLED, "by root"),
    "cancelled-before-start": (JobState.CANCELLED, "before it started"),
    "array-cancelled": (JobState.CANCELLED, "before it started"),
    "time-limit": (JobState.TIMEOUT, "reached its time limit of 00:01:00"),
    "node-lost": (JobState.NODE_FAIL, "a node was lost"),
    "heterogeneous": (JobState.COMPLETED, ""),
    "heterogeneous-first-failed": (JobState.FAILED, "step 0 ended with exit status 7"),
    "heterogeneous-second-failed": (JobState.FAILED, "step 0 ended with exit status 7"),
}


@pytest.mark.parametrize("event", ENDED)
@pytest.mark.parametrize("forgotten", [False, True], ids=["remembered", "forgotten"])
def test_every_end_is_told_while_and_after_the_controller_remembers_it(event, forgotten):
    view = recording(event)
    if forgotten:
        view = View(None, view.attempts, None)
    run = COMPLETED if event in ("completed", "heterogeneous") else Run()
    verdict = judged(view, run)
    state, words = ENDED[event]
    assert verdict.state is state
    assert words in verdict.reason
    assert verdict.settled


@pytest.mark.parametrize(
    ("event", "state", "words"),
    [
        ("completed", JobState.COMPLETED, ""),
        ("failed", JobState.FAILED, "exit status 9"),
        ("step-failed", JobState.FAILED, "a step ended with exit status 9"),
        ("out-of-memory", JobState.OUT_OF_MEMORY, "memory"),
        ("step-out-of-memory", JobState.OUT_OF_MEMORY, "memory"),
        ("cancelled", JobState.CANCELLED, ""),
        ("time-limit", JobState.TIMEOUT, "time limit of 00:01:00"),
        ("heterogeneous-first-failed", JobState.FAILED, "a step ended with exit status 7"),
        ("heterogeneous-second-failed", JobState.FAILED, "a step ended with exit status 7"),
    ],
)
def test_the_controller_tells_the_end_where_there_is_no_accounting(event, state, words):
    view = recording(f"{event}.no-accounting")
    assert view.attempts == ()
    verdict = judged(view, COMPLETED if event == "completed" else Run())
    assert verdict.state is state
    assert words in verdict.reason


ALIVE = {
    "running": (JobState.RUNNING, ""),
    "heterogeneous-running": (JobState.RUNNING, ""),
    "requeued-running": (JobState.RUNNING, ""),
    "array-running": (JobState.PENDING, "other tasks of its array (JobArrayTaskLimit)"),
    "suspended": (JobState.SUSPENDED, "suspended it"),
    "requeued": (JobState.PENDING, "requeued; starts again at"),
    "preempted": (JobState.PENDING, "higher priority took its nodes; starts again at"),
    "node-lost-requeued": (JobState.PENDING, "requeued after a node was lost; starts again at"),
    "waiting-resources": (JobState.PENDING, "nodes to become free (Resources); expected to start"),
    "waiting-priority": (JobState.PENDING, "(Priority)"),
    "held-user": (JobState.PENDING, "scontrol release"),
    "held-admin": (JobState.PENDING, "held by an administrator"),
    "dependency": (JobState.PENDING, "waiting for another job"),
    "dependency-never": (JobState.PENDING, "never starts"),
    "begin-time": (JobState.PENDING, "as it was asked to"),
    "node-not-available": (JobState.PENDING, "down, drained or reserved (ReqNodeNotAvail)"),
}


@pytest.mark.parametrize("event", ALIVE)
def test_a_living_job_says_why_it_waits(event):
    view = recording(event)
    start = view.queued.start or LONG_AGO
    verdict = judged(view, now=start - dt.timedelta(minutes=2))
    state, words = ALIVE[event]
    assert verdict.state is state
    assert words in verdict.reason
    assert not verdict.settled


def test_a_part_of_a_heterogeneous_job_is_no_attempt_of_its_own():
    lines = read("heterogeneous-first-failed", "sacct")
    again = "3+0|3|REQUEUED|0:0|0:0|||N/A|\n3+1|4|REQUEUED|0:0|0:0|||N/A|\n" + lines
    [(job, attempts)] = records.parse_sacct(again).items()
    assert (job, [one.state for one in attempts]) == ("3", ["REQUEUED", "COMPLETED"])
    assert [step.name for step in attempts[-1].steps] == ["batch", "0", "1"]
    lost = lines.replace("3+1|4|COMPLETED", "3+1|4|NODE_FAIL")
    assert records.parse_sacct(lost)["3"][-1].state == "NODE_FAIL"


def test_a_requeued_job_goes_on_saying_so_while_it_waits_for_nodes():
    waiting = judged(recording("node-lost-requeued"))
    later = View(Queued("22", "22", "PENDING", "Resources"))
    assert judged(later, last=waiting).reason.startswith("requeued after a node was lost; waiting")
    running = judged(recording("running"), last=waiting)
    assert judged(later, last=running).reason.startswith("waiting")


# --------------------------------------------------------------------------- other words


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("COMPLETING", JobState.RUNNING),
        ("CONFIGURING", JobState.RUNNING),
        ("STOPPED", JobState.SUSPENDED),
        ("REQUEUE_HOLD", JobState.PENDING),
        ("SPECIAL_EXIT", JobState.PENDING),
        ("A_NEW_STATE", JobState.RUNNING),
    ],
)
def test_states_in_between_are_alive(word, state):
    verdict = judged(View(Queued("1", "1", word)))
    assert verdict.state is state
    assert verdict.reason


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("BOOT_FAIL", JobState.NODE_FAIL),
        ("DEADLINE", JobState.TIMEOUT),
        ("PREEMPTED", JobState.PREEMPTED),
        ("OUT_OF_MEMORY", JobState.OUT_OF_MEMORY),
    ],
)
def test_rare_ends_have_a_reason(word, state):
    verdict = judged(View(None, (Attempt("1", "1", word),)))
    assert (verdict.state, verdict.settled) == (state, True)
    assert verdict.reason


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("QOSMaxCpuPerUserLimit", "over a limit of its QOS (QOSMaxCpuPerUserLimit)"),
        ("AssocGrpNodeLimit", "account together are at a limit (AssocGrpNodeLimit)"),
        ("PartitionTimeLimit", "more time than its partition gives"),
        ("ReqNodeNotAvail, UnavailableNodes:node2", "(ReqNodeNotAvail)"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
            "partitions",
            "nodes it needs are down, drained or reserved",
        ),
        ("launch failed requeued held", "scontrol release 17"),
        ("SomethingNew", "Slurm says SomethingNew"),
        ("None", ""),
    ],
)
def test_reasons_are_told_in_words(reason, words):
    assert words in waiting_reason(reason, "17")


def test_an_expected_start_a_year_away_is_not_told():
    far = Queued("1", "1", "PENDING", "Resources", start=LATER + dt.timedelta(days=365))
    assert "expected" not in judged(View(far)).reason


def test_a_cancelled_job_names_nobody():
    by = Attempt("1", "1", "CANCELLED", cancelled_by="4711", start=LONG_AGO)
    assert judged(View(None, (by,))).reason == "by another user"


# --------------------------------------------------------------------------- two stories of one job


def test_a_script_that_ended_well_did_not_train_if_its_manifest_says_otherwise():
    view = recording("completed")
    failed = judged(view, Run("failed", "rank 1: the disk is full"))
    assert failed.state is JobState.FAILED
    assert failed.reason == "Slurm says completed, but its run failed: rank 1: the disk is full"
    assert judged(view, Run()).state is JobState.FAILED


def test_files_may_take_a_moment_after_the_end():
    view = recording("completed")
    just_now = view.attempts[-1].end + dt.timedelta(seconds=2)
    verdict = judged(view, Run(), now=just_now)
    assert (verdict.state, verdict.settled) == (JobState.RUNNING, False)


def test_the_runs_own_words_beat_an_exit_status():
    verdict = judged(recording("failed"), Run("failed", "data/: no data set"))
    assert (verdict.state, verdict.reason) == (JobState.FAILED, "data/: no data set")
    stopped = judged(recording("failed"), Run("timeout", "stopped before the time limit"))
    assert stopped.state is JobState.TIMEOUT


@pytest.mark.parametrize("name", ["node-lost", "failed", "cancelled", "time-limit"])
def test_a_run_that_completed_is_completed_however_its_job_ended(name):
    ended = judged(recording(name), Run("completed"))
    assert (ended.state, ended.settled) == (JobState.COMPLETED, True)
    assert "after its training had completed" in ended.reason


def test_a_run_that_was_not_requeued_ran_out_of_time():
    attempt = Attempt("1", "1", "FAILED", exit=Exit(75))
    assert judged(View(None, (attempt,))).state is JobState.TIMEOUT


# --------------------------------------------------------------------------- not knowing yet


def test_no_end_is_reported_before_accounting_knows_it():
    ended = recording("out-of-memory")
    soon = ended.queued.end + dt.timedelta(seconds=1)
    running = Verdict(JobState.RUNNING)
    view = View(ended.queued, (), ended.shown)
    verdict = judged(view, now=soon, last=running)
    assert (verdict.state, verdict.settled) == (JobState.RUNNING, False)
    # It never comes: then what the controller says must do.
    assert judged(view, last=running).state is JobState.OUT_OF_MEMORY
    half = View(ended.queued, (Attempt("3", "3", "RUNNING"),))
    assert judged(half, now=soon, last=running).state is JobState.RUNNING


def test_an_earlier_attempts_end_is_not_taken_for_the_last_ones():
    now = LATER
    view = View(Queued("1", "1", "COMPLETED", end=now), (Attempt("1", "1", "NODE_FAIL"),))
    verdict = judged(view, COMPLETED, now=now, last=Verdict(JobState.RUNNING))
    assert (verdict.state, verdict.settled) == (JobState.RUNNING, False)


def test_a_job_just_submitted_may_be_unknown_everywhere():
    now = LATER
    new = judged(View(), now=now, submitted=now - dt.timedelta(seconds=2))
    assert (new.state, new.settled) == (JobState.PENDING, False)
    lost = judged(View(), now=now, submitted=LONG_AGO)
    assert (lost.state, lost.settled) == (JobState.FAILED, True)
    assert judged(View(), COMPLETED, now=now).state is JobState.COMPLETED


def test_while_the_controller_is_away_the_last_state_stands():
    view = View(Queued("1", "1", "COMPLETED"), away_since=LATER)
    verdict = judged(view, last=Verdict(JobState.RUNNING))
    assert verdict.state is JobState.RUNNING
    assert "not answered since" in verdict.reason
    # Another process that looks later does not take its own first question for the beginning.
    later = View(Queued("1", "1", "RUNNING"), away_since=LATER + dt.timedelta(minutes=5))
    assert judged(later, last=verdict).reason == verdict.reason
    done = judged(later, COMPLETED, last=verdict)
    assert (done.state, done.settled) == (JobState.COMPLETED, False)
    assert done.reason.endswith("; the run completed")
    # It may be queued again for these ends.
    for ended in ("timeout", "cancelled"):
        assert judged(later, Run(ended), last=verdict).state is JobState.RUNNING


def test_without_its_cluster_the_runs_own_record_decides():
    view = View(elsewhere="cluster a does not answer here, b does")
    assert judged(view, COMPLETED).state is JobState.COMPLETED
    unknown = judged(view, last=Verdict(JobState.RUNNING))
    assert (unknown.state, unknown.settled) == (JobState.RUNNING, False)
    assert "cluster a does not answer" in unknown.reason


def test_while_accounting_is_away_an_end_is_not_the_last_word():
    ended = recording("failed")
    verdict = judged(View(ended.queued, (), ended.shown, Accounting.AWAY))
    assert (verdict.state, verdict.settled) == (JobState.FAILED, False)


# --------------------------------------------------------------------------- parsing


def test_words_that_are_cut_or_name_a_user_are_still_states():
    lines = "17|17|CANCELLED by 1000|0:15|0:0|||None|\n18|18|COMPLETED+|0:0|0:0||||\n"
    found = records.parse_sacct(lines)
    assert (found["17"][0].state, found["17"][0].cancelled_by) == ("CANCELLED", "1000")
    assert found["18"][0].state == "COMPLETED"


def test_tasks_that_never_started_share_a_line_that_says_nothing_of_the_others():
    found = records.parse_sacct(read("array-cancelled", "sacct"))
    array = next(iter(found)).partition("_")[0]
    assert sorted(found) == [f"{array}_{task}" for task in range(4)]
    assert found[f"{array}_0"][-1].start is not None
    steps = "9_[1,4-8:2%3]|9|PENDING|0:0|0:0||||\n"
    assert sorted(records.parse_sacct(steps)) == ["9_1", "9_4", "9_6", "9_8"]


def test_attempts_keep_their_own_steps():
    attempts = next(iter(records.parse_sacct(read("requeued-running", "sacct")).values()))
    assert [attempt.state for attempt in attempts] == ["REQUEUED", "RUNNING"]
    assert all([step.name for step in attempt.steps] == ["batch", "0"] for attempt in attempts)


def test_torn_and_foreign_lines_are_left_out():
    whole = "17|17|RUNNING|None|2026-11-23T08:20:48|NONE|10:00"
    found = records.parse_squeue(f"slurm_load: a warning\n{whole}\n18|18|RUNN")
    assert list(found) == ["17"]
    assert found["17"].end is None
    assert records.parse_sacct("noise\n.batch||||||||\n17.batch|x|FAILED|1:0|||||\n") == {}
    assert records.parse_scontrol_job("slurm_load_jobs error: Invalid job id specified") is None


def test_a_jobs_name_cannot_pass_for_its_state():
    text = read("failed", "scontrol").replace("job.sh", "x JobState=COMPLETED ExitCode=0:0")
    shown = records.parse_scontrol_job(text)
    assert isinstance(shown, Shown)
    assert (shown.state, shown.exit) == ("FAILED", Exit(9))


def test_a_submission_is_read_with_and_without_a_cluster():
    assert records.parse_submitted("17\n") == "17"
    assert records.parse_submitted("17;main\n") == "17"
    assert records.parse_submitted("sbatch: queued\n") is None


def test_an_exit_status_above_128_is_a_signal():
    attempt = Attempt("1", "1", "FAILED", exit=Exit(137), steps=(Step("0", "FAILED", Exit(0, 9)),))
    assert "SIGKILL" in judged(View(None, (attempt,))).reason
    # sacct takes 128 from it, and leaves the derived one as it is.
    found = records.parse_sacct("3|3|FAILED|9:0|137:0||||\n")
    assert "SIGKILL" in judged(View(None, found["3"])).reason
    assert (
        "status 9"
        in judged(View(None, records.parse_sacct("3|3|FAILED|9:0|9:0||||\n")["3"])).reason
    )


# --------------------------------------------------------------------------- complaints

COMPLAINTS = {
    "bad partition": commands.SlurmError,
    "too many nodes": commands.SlurmError,
    "bad time": commands.SlurmError,
    "too much memory": commands.SlurmError,
    "unknown job in squeue": commands.UnknownJob,
    "unknown job in scontrol": commands.UnknownJob,
    "controller away in squeue": commands.ControllerAway,
    "controller away in scontrol": commands.ControllerAway,
    "controller away in scancel": commands.ControllerAway,
    "controller away in sbatch": commands.ControllerAway,
    "no accounting in sacct": commands.NoAccounting,
}


#: What squeue answers where Slurm is installed and no cluster is set up.
NO_CONFIGURATION = """\
squeue: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
squeue: error: fetch_config: DNS SRV lookup failed
squeue: error: _establish_config_source: failed to fetch config
squeue: fatal: Could not establish a configuration source
"""


@pytest.mark.parametrize("event", COMPLAINTS)
def test_a_refusal_is_told_apart_from_no_answer(event, tmp_path):
    said = json.loads((RECORDED / "complaints.json").read_text())[event]
    command = tmp_path / "slurm-command"
    command.write_text(f"#!/bin/sh\ncat >&2 <<'EOF'\n{said}\nEOF\nexit 1\n")
    command.chmod(0o755)
    with pytest.raises(COMPLAINTS[event]) as caught:
        commands.ask([str(command)], environment={})
    assert type(caught.value) is COMPLAINTS[event]
    assert "\n" not in str(caught.value)


def test_a_missing_command_or_configuration_is_no_slurm(tmp_path):
    with pytest.raises(commands.NoSlurm):
        commands.ask([str(tmp_path / "squeue")], environment={})
    with pytest.raises(commands.NoSlurm, match="SLURM_CONF"):
        commands.ask(["squeue"], environment={"SLURM_CONF": str(tmp_path / "gone.conf")})


def test_where_slurm_looked_for_its_configuration_is_not_repeated(tmp_path):
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\ncat >&2 <<'EOF'\n{NO_CONFIGURATION}EOF\nexit 1\n")
    command.chmod(0o755)
    with pytest.raises(commands.NoSlurm, match="^Slurm finds no configuration of a cluster$"):
        commands.ask([str(command)], environment={})


def test_a_command_that_hangs_is_no_answer():
    with pytest.raises(commands.ControllerAway, match="no answer after"):
        commands.ask(["sleep", "5"], timeout_s=0.1, environment={})
