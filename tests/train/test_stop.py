"""Stopped before a time limit or by a cancellation: a run goes on within its epoch."""

from __future__ import annotations

import errno
import json
import signal
import time

import pytest
import torch
import train_helpers as helpers
from waiting import wait_until

from scalebook import contract
from scalebook.results import schema
from scalebook.train import checkpoint, loop, manifest, privacy, records, stop

SAME = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr", "images", "loss_scale")
USR1, TERM = signal.SIGUSR1, signal.SIGTERM


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed: three epochs of three steps, with dropout."""
    root = helpers.study(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEBOOK_ROOT", str(root))
        assert helpers.train(root) == 0
    return root


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    for name in ("SCALEBOOK_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_CLUSTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    return helpers.study(tmp_path)


@pytest.fixture
def during(monkeypatch):
    """Call something during an optimiser step of the run, counted from 0; once each."""
    original, todo = loop.learning_rate, {}

    def hooked(step, *arguments):
        todo.pop(step, lambda: None)()
        return original(step, *arguments)

    monkeypatch.setattr(loop, "learning_rate", hooked)
    return todo


def attempt(root, monkeypatch, number, seed=99):
    """Let Slurm start the job for the `number`-th time; returns the exit status."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(number - 1))
    torch.manual_seed(seed)  # whatever state the process is in
    return helpers.train(root)


def same(root, other):
    tables = [[[row[name] for name in SAME] for row in helpers.rows(one)] for one in (root, other)]
    assert tables[0] == tables[1]
    expected = helpers.parameters(other)
    for name, values in helpers.parameters(root).items():
        assert torch.equal(values, expected[name]), name


def checked(root, world_size, steps, epochs):
    """The rows follow from the steps, of which there is each once."""
    path = helpers.only(root, "results/local/csv/*.csv")
    assert not schema.read_epochs(path, "rows").problems
    table = schema.read_steps(helpers.only(root, "results/local/steps/*.csv.gz"), "steps")
    keys = list(zip(table["epoch"], table["step"], table["rank"]))
    assert keys == [
        (e + 1, s + 1, r) for e in range(epochs) for s in range(steps) for r in range(world_size)
    ]
    for row, (_, own) in zip(helpers.rows(root), table.groupby("epoch")):
        images = own["images"].sum()
        warm = own["warmup"] == 1
        assert images == int(row["images"])
        assert own[warm]["images"].sum() == int(row["warmup_images"])
        seconds = own.groupby("rank")["step_time_s"].sum().max()
        assert float(row["train_time_s"]) == pytest.approx(seconds, abs=1e-4)
        assert float(row["epoch_time_s"]) >= seconds + float(row["val_time_s"]) - 1e-4
    return table


@pytest.mark.parametrize(
    "stops,places",
    [
        ((1,), ["epoch 1, step 2"]),  # within the first epoch: no other checkpoint is there
        ((4,), ["epoch 2, step 2"]),
        ((3, 4), ["epoch 2, step 1", "epoch 2, step 2"]),  # twice in one epoch
        ((5,), ["epoch 2, step 3"]),  # in the validation, which is done again
        ((8,), ["epoch 3, step 3"]),  # in the last one
        ((0, 7), ["epoch 1, step 1", "epoch 3, step 2"]),
    ],
)
def test_requeued_run_equals_undisturbed(root, whole, monkeypatch, capsys, during, stops, places):
    for step in stops:
        during[step] = lambda: signal.raise_signal(USR1)
    for number, place in enumerate(places, 1):
        capsys.readouterr()
        assert attempt(root, monkeypatch, number) == contract.REQUEUE == 75
        last = helpers.last_attempt(root)
        assert last["ended"] == "timeout"
        assert f"stopped before the time limit with a checkpoint at {place}" in last["reason"]
        assert last["reason"] in capsys.readouterr().err
        assert last["reason"] in helpers.only(root, "results/local/logs/*.log").read_text()
    assert attempt(root, monkeypatch, len(places) + 1) == 0

    same(root, whole)
    table = checked(root, 1, steps=3, epochs=3)
    # Each attempt does its steps, the first two of which are warm-up.
    ends = [*(step + 1 for step in stops), 9]
    begins = [0, *ends[:-1]]
    assert list(table["attempt"]) == [
        n + 1 for n in range(len(ends)) for _ in range(begins[n], ends[n])
    ]
    warm = [n < 2 for begin, end in zip(begins, ends) for n in range(end - begin)]
    assert list(table["warmup"] == 1) == warm
    # An epoch that was stopped in its validation was finished by the next attempt.
    ended_by = [sum(end <= 3 * epoch for end in ends[:-1]) + 1 for epoch in (1, 2, 3)]
    assert [int(row["attempt"]) for row in helpers.rows(root)] == ended_by
    attempts = helpers.manifest(root)["attempts"]
    assert (attempts[-1]["first_epoch"], attempts[-1]["first_step"]) == {
        "epoch 1, step 2": (1, 3),
        "epoch 2, step 2": (2, 3),
        "epoch 2, step 3": (2, 4),
        "epoch 3, step 3": (3, 4),
        "epoch 3, step 2": (3, 3),
    }[places[-1]]


@pytest.mark.slow
def test_times_are_sums_over_the_attempts(root, monkeypatch, during):
    during[3] = lambda: (time.sleep(0.3), signal.raise_signal(USR1))
    during[4] = lambda: time.sleep(0.2)
    spent = 0.0
    for number, status in ((1, 75), (2, 0)):
        started = time.monotonic()
        assert attempt(root, monkeypatch, number) == status
        spent += time.monotonic() - started
        time.sleep(0.5)  # in the queue
    second = helpers.rows(root)[1]
    train, warmup = float(second["train_time_s"]), float(second["warmup_time_s"])
    assert 0.5 <= train < spent
    assert 0.5 <= float(second["epoch_time_s"]) - float(second["val_time_s"]) < spent
    # Step 1 came after the warm-up of its attempt, step 2 and 3 are the warm-up of the next.
    assert second["warmup_images"] == "24" and warmup >= 0.2 and train - warmup >= 0.3


def test_stop_between_epochs(root, whole, monkeypatch):
    append = records.append_epoch

    def then_stop(*arguments):
        append(*arguments)
        signal.raise_signal(USR1)

    monkeypatch.setattr(records, "append_epoch", then_stop)
    assert attempt(root, monkeypatch, 1) == 75
    assert "with a checkpoint at the end of epoch 1" in helpers.last_attempt(root)["reason"]
    monkeypatch.setattr(records, "append_epoch", append)
    assert attempt(root, monkeypatch, 2) == 0
    same(root, whole)
    checked(root, 1, steps=3, epochs=3)


def test_cancelled_run_leaves_a_checkpoint(root, whole, monkeypatch, during):
    during[4] = lambda: signal.raise_signal(TERM)
    assert attempt(root, monkeypatch, 1) == 1
    last = helpers.last_attempt(root)
    assert last["ended"] == "cancelled"
    assert last["reason"].endswith("continue it with --resume (checkpoint at epoch 2, step 2)")
    assert helpers.train(root, "--resume") == 0
    same(root, whole)


def test_killed_after_a_stop_goes_on_from_the_newest_checkpoint(root, whole, monkeypatch, during):
    def killed():
        raise SystemExit("killed")

    during[3] = lambda: signal.raise_signal(USR1)
    during[5] = killed  # in the same epoch: its checkpoint is the one within
    during[7] = killed  # in the next one: it is that of the epoch
    assert attempt(root, monkeypatch, 1) == 75
    for number in (2, 3):
        with pytest.raises(SystemExit):
            attempt(root, monkeypatch, number)
        assert helpers.last_attempt(root)["ended"] is None
    folder = helpers.only(root, "checkpoints/*")
    (folder / ".last.pt.torn").write_bytes(b"half")  # as a kill leaves it
    assert attempt(root, monkeypatch, 4) == 0
    attempts = helpers.manifest(root)["attempts"]
    assert [one["ended"] for one in attempts] == ["timeout", "killed", "killed", "completed"]
    assert [(one["first_epoch"], one["first_step"]) for one in attempts] == [
        (1, 1), (2, 2), (2, 2), (3, 1)]  # fmt: skip
    same(root, whole)
    checked(root, 1, steps=3, epochs=3)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("lost", ["checkpoint", "manifest too"])
def test_requeued_without_anything_to_go_on_from(root, whole, monkeypatch, during, lost):
    """Killed before its first checkpoint, or its manifest: it starts afresh, same name."""
    during[1] = lambda: (_ for _ in ()).throw(SystemExit("killed"))
    with pytest.raises(SystemExit):
        attempt(root, monkeypatch, 1)
    if lost == "manifest too":
        helpers.only(root, "results/local/manifests/*.json").unlink()
    assert not list(root.glob("checkpoints/*/last.pt"))
    assert attempt(root, monkeypatch, 2) == 0
    assert helpers.manifest(root)["stem"] == "tiny_12_1cpu_12"
    same(root, whole)
    checked(root, 1, steps=3, epochs=3)


def test_no_time_for_a_step_is_not_queued_again(root, monkeypatch, capsys):
    """It would end the same way for ever."""
    start = loop.Trainer.run_epoch

    def late(*arguments):
        signal.raise_signal(USR1)
        return start(*arguments)

    monkeypatch.setattr(loop.Trainer, "run_epoch", late)
    assert attempt(root, monkeypatch, 1) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "without having got further: give the job more time" in line
    assert helpers.last_attempt(root)["ended"] == "timeout"


def test_first_request_is_the_reason(monkeypatch):
    """At the time limit Slurm sends SIGTERM as well."""
    stop.listen()
    try:
        signal.raise_signal(USR1)
        signal.raise_signal(TERM)
        assert stop.requested() == "timeout"
    finally:
        helpers.forget_stop()


def test_full_disk_at_the_stop(root, whole, monkeypatch, capsys, during):
    during[4] = lambda: signal.raise_signal(USR1)
    save = checkpoint.Folder.save

    def full(folder, state):
        if state["so_far"] is None:
            return save(folder, state)
        raise OSError(errno.ENOSPC, "No space left on device", str(folder.file))

    monkeypatch.setattr(checkpoint.Folder, "save", full)
    assert attempt(root, monkeypatch, 1) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "checkpoint of epoch 2, step 2: the disk is full" in line
    assert helpers.last_attempt(root)["ended"] == "failed"
    monkeypatch.setattr(checkpoint.Folder, "save", save)
    assert attempt(root, monkeypatch, 2) == 0  # from the end of epoch 1
    same(root, whole)


def test_checkpoint_of_an_epoch_without_the_newer_key(root, whole, monkeypatch, during):
    """As runs wrote it before they could stop within an epoch."""
    save = checkpoint.Folder.save
    monkeypatch.setattr(
        checkpoint.Folder,
        "save",
        lambda folder, state: save(folder, {k: v for k, v in state.items() if k != "so_far"}),
    )
    during[4] = lambda: (_ for _ in ()).throw(SystemExit("killed"))
    with pytest.raises(SystemExit):
        attempt(root, monkeypatch, 1)
    assert attempt(root, monkeypatch, 2) == 0
    same(root, whole)


def test_a_short_rest_is_not_profiled(root, monkeypatch, during):
    helpers.study(root, profile=True)
    during[6] = lambda: signal.raise_signal(USR1)
    assert attempt(root, monkeypatch, 1) == 75
    assert attempt(root, monkeypatch, 2) == 0
    assert len(helpers.rows(root)) == 3


# --------------------------------------------------------------------------- what Slurm tells


def test_job_id_and_record_of_slurm(monkeypatch, root):
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "mini-1gbit-261123-081500-7f")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_JOB_START_TIME", "1000")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1600")
    command = ["sbatch", f"--chdir={root}", "--job-name=a b; $(x)", f"{root}/slurm/train.sbatch"]
    monkeypatch.setenv("SCALEBOOK_SUBMIT_COMMAND", json.dumps(command))
    assert manifest.job_id() == ("t261123-081500-7f-12-3", True)
    assert helpers.train(root) == 0
    document = helpers.manifest(root)
    assert document["stem"] == "tiny_t261123-081500-7f-12-3_1cpu_t261123-081500-7f-12-3"
    assert document["submitted"] == [
        "sbatch",
        "--chdir=.",
        "--job-name=a b; $(x)",
        "slurm/train.sbatch",
    ]
    assert helpers.last_attempt(root)["scheduler"]["time_limit_s"] == 600
    for text in ("", "{", '"sbatch"'):
        monkeypatch.setenv("SCALEBOOK_SUBMIT_COMMAND", text)
        assert manifest._submitted(root) is None


def test_names_of_all_nodes_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[08-10,12],fat")
    monkeypatch.setenv("SLURM_SUBMIT_HOST", "login3.site.org")
    text = "gpu08 gpu09:2950 [gpu12] fat login3 login3.site.org gpu11 fatal"
    assert privacy.clean_text(text, tmp_path) == (
        "(name) (name):2950 [(name)] (name) (name) (name) gpu11 fatal"
    )


# --------------------------------------------------------------------------- several ranks


@pytest.mark.slow
def test_two_ranks_go_on_within_the_epoch(tmp_path):
    changes = {"world_size": 2, "epochs": 2, "train_images": 320, "global_batch": 32}
    whole = helpers.study(tmp_path / "whole", **changes)
    outcomes = helpers.finish(helpers.start_ranks(whole, 2))
    assert [status for status, *_ in outcomes] == [0, 0], outcomes

    root = helpers.study(tmp_path / "parts", **changes)
    processes = helpers.start_ranks(
        root,
        2,
        SLURM_JOB_ID="12",
        of_rank={0: {"TRAIN_TEST_TIME_LIMIT_AT": "13"}, 1: {"TRAIN_TEST_TIME_LIMIT_AT": "14"}},
    )
    outcomes = helpers.finish(processes)
    assert [status for status, *_ in outcomes] == [75, 75], outcomes
    said = [line for *_, errors in outcomes for line in errors.splitlines()]
    assert len(said) == 1 and "with a checkpoint at epoch 2, step 7" in said[0], said
    again = {"SLURM_JOB_ID": "12", "SLURM_RESTART_COUNT": "1"}
    outcomes = helpers.finish(helpers.start_ranks(root, 2, **again))
    assert [status for status, *_ in outcomes] == [0, 0], outcomes
    same(root, whole)
    table = checked(root, 2, steps=10, epochs=2)
    assert list(table["attempt"]) == [1] * 34 + [2] * 6
    assert [one["ended"] for one in helpers.manifest(root)["attempts"]] == ["timeout", "completed"]


@pytest.mark.slow
def test_a_time_limit_that_comes_after_the_end_changes_nothing(tmp_path):
    helpers.study(tmp_path, epochs=1)
    (process,) = helpers.start_ranks(tmp_path, 1, SCALEBOOK_JOB_ID="8")
    path = tmp_path / "results/local/manifests/tiny_8_1cpu_8.json"
    wait_until(lambda: path.is_file() and '"ended": "completed"' in path.read_text())
    while process.poll() is None:
        process.send_signal(USR1)
    assert helpers.finish([process])[0][0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number,status", [(USR1, 75), (TERM, 1)])
def test_all_is_written_when_the_first_rank_exits(tmp_path, number, status):
    """As under ``srun --kill-on-bad-exit``: the first exit is the end of the others."""
    helpers.study(tmp_path, world_size=2, epochs=100_000, train_images=3200, warmup_epochs=0.0)
    processes = helpers.start_ranks(
        tmp_path, 2, SCALEBOOK_JOB_ID="8", SCALEBOOK_PROGRESS=str(tmp_path / "progress.json")
    )

    def trains():
        assert all(process.poll() is None for process in processes), helpers.finish(processes)
        path = tmp_path / "progress.json"
        return path.is_file() and json.loads(path.read_text())["step"] > 1

    wait_until(trains)
    for process in processes:
        process.send_signal(number)
    wait_until(lambda: any(process.poll() is not None for process in processes))
    for process in processes:
        process.kill()
    outcomes = helpers.finish(processes)
    assert status in [code for code, *_ in outcomes]
    last = helpers.last_attempt(tmp_path)
    assert last["ended"] in ("timeout", "cancelled") and "epoch" in last["reason"]
    assert last["reason"] in helpers.only(tmp_path, "results/local/logs/*.log").read_text()
    assert helpers.parameters(tmp_path)
    assert sum("scalebook.train:" in errors for *_, errors in outcomes) == 1
