"""A campaign runs each experiment with each seed once, in rounds, and goes on where it stopped."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fabricate import add_run, set_campaigns
from waiting import PATIENCE_S

from scalebook import contract, study
from scalebook.contract import RunFiles, ScalebookError, Stem, UsageError
from scalebook.launch import JobState, campaign, registry
from scalebook.launch.finished import without_settings
from scalebook.launch.slurm import job as slurm_job
from scalebook.launch.slurm import submit
from scalebook.launch.slurm.job import SlurmJob
from scalebook.train.tools.campaign import Budget

CAMPAIGN = """
campaigns:
  tiny:
    seeds: [4, 5]
    set: {dataset: synthetic, train_images: 64, val_images: 32, epochs: 1, untimed_steps: 1,
          threads_per_rank: 1, global_batch: 16}
    experiments:
      baseline:
      ddp_2gpu: {train_images: 128}
"""


@pytest.fixture
def root(study_root):
    set_campaigns(study_root, CAMPAIGN)
    return study_root


def finish(root, resolved, job, local=True, data="synthetic", **changes):
    """Put the files of a finished run of these settings into the results."""
    layout = resolved["layout"]
    return add_run(
        root, resolved["experiment"], resolved["seed"], local=local, world=layout["world_size"],
        accuracy=(40.0,) * resolved["training"]["epochs"], job_id=job, resolved=resolved,
        system=resolved["system"], dataset={"name": data}, **changes,
    )  # fmt: skip


class FakeJob:
    """A job that has ended by the time anybody looks."""

    def __init__(self, root, resolved, number, fails=False):
        self.root, self.resolved, self.id = root, resolved, f"j{number}"
        self.cluster, self.over, self.fails = None, False, fails
        layout = resolved["layout"]
        self.stem = Stem(resolved["experiment"], self.id, layout["world_size"], "cpu")

    def state(self):
        if not self.over:
            return JobState.RUNNING
        return JobState.FAILED if self.fails else JobState.COMPLETED

    def reason(self):
        return "it broke"

    def keep_accounting(self):
        return "no accounting here"

    is_elsewhere = SlurmJob.is_elsewhere

    def files(self):
        return RunFiles(self.root / "results/local", str(self.stem))

    def end(self):
        self.over = True
        if not self.fails:
            finish(self.root, self.resolved, self.id)
        return self.state()


@pytest.fixture
def queue(root, monkeypatch):
    """Stands in for the launchers: keeps what was submitted, and after what."""
    submitted = []

    def submit(resolved, root, after=()):
        job = FakeJob(root, resolved, len(submitted), fails=resolved["seed"] == 13)
        submitted.append((job, [one.id for one in after]))
        return job

    def submit_array(documents, root, after=()):
        return [submit(one, root, after) for one in documents]

    monkeypatch.setattr(registry, "submit", submit)
    monkeypatch.setattr(registry, "submit_array", submit_array)
    monkeypatch.setattr(
        registry, "jobs", lambda root, damaged: [job for job, _ in submitted if not job.over]
    )
    return submitted


def names(planned):
    return [(one.experiment, one.seed, one.state) for one in planned]


def quiet(line):
    pass


def test_runs_go_in_rounds_with_the_campaigns_settings(root):
    planned = campaign.plan(root, "local", "tiny")
    assert names(planned) == [
        ("baseline", 4, "to run"),
        ("ddp_2gpu", 4, "to run"),
        ("baseline", 5, "to run"),
        ("ddp_2gpu", 5, "to run"),
    ]
    assert [one.resolved["dataset"]["train_images"] for one in planned[:2]] == [64, 128]
    one = campaign.plan(root, "local", "tiny", seed=9, overrides={"epochs": 3})
    assert {item.seed for item in one} == {9}
    assert one[0].resolved["training"]["epochs"] == 3


def test_without_a_campaign_the_rules_of_evidence_say_what_runs(root):
    planned = campaign.plan(root, "magic-castle")
    assert {one.experiment for one in planned} == {"baseline", "ddp_2gpu", "fp16", "profile"}
    assert {one.seed for one in planned} == {0, 1, 2}
    here = {one.experiment: one for one in campaign.plan(root, "local")}
    if study.detect_device() == "cpu":
        assert here["fp16"].state == "cannot run here"
        assert "precision" in here["fp16"].note
        # A rule that names no experiment takes any, one that cannot run here too.
        text = (root / "study.yaml").read_text()
        rules = "evidence:\n  - {systems: [local]}\n"
        (root / "study.yaml").write_text(text[: text.index("evidence:")] + rules)
        here = {one.experiment: one for one in campaign.plan(root, "local")}
        assert here["fp16"].state == "cannot run here" and here["baseline"].state == "to run"


def test_a_campaign_remembers_the_settings_of_its_evidence(root):
    loaded = study.load(root)
    for seed in (0, 1):
        resolved = study.resolve(loaded, "baseline", "local", seed, {"epochs": 3, "lr": 0.05})
        finish(root, resolved, f"t-{seed}", local=False, data="cifar10")
    for ranks in (1, 2):
        resolved = study.resolve(loaded, "profile", "local", 0, {"world_size": ranks})
        finish(root, resolved, f"p-{ranks}", local=False, data="cifar10")
    planned = [one for one in campaign.plan(root, "local") if one.experiment != "fp16"]
    assert [one for one in names(planned) if one[0] != "ddp_2gpu"] == [
        ("baseline", 0, "finished"),
        ("baseline", 1, "finished"),
        ("baseline", 2, "to run"),
        ("profile", 0, "finished"),
        ("profile", 0, "finished"),
    ]
    third = next(one for one in planned if one.experiment == "baseline" and one.seed == 2)
    assert third.resolved["overrides"] == {"epochs": 3, "lr": 0.05}
    rows = campaign.as_rows(planned)
    assert rows[0]["system"] == "local" and rows[0]["settings"] == "epochs=3 lr=0.05"
    # Twice the epochs take twice the time; of what was never run nobody knows.
    longer = campaign.plan(root, "local", seed=2, overrides={"epochs": 6})
    seconds = {one.experiment: one.seconds for one in longer}
    assert third.seconds and seconds["baseline"] == pytest.approx(2 * third.seconds)
    assert seconds["ddp_2gpu"] is None
    assert "minutes by the last runs like them; of 1 nothing like it" in campaign.time_left(
        [one for one in longer if one.experiment in ("baseline", "ddp_2gpu")]
    )


BLOCKED = CAMPAIGN.replace("seeds: [4, 5]", "blocks: 6\n    order_seed: 3").replace(
    "      baseline:\n", "      baseline:\n      ddp_1node:\n"
)


def blocked(root, text=BLOCKED):
    path = root / "study.yaml"
    path.write_text(path.read_text().replace(CAMPAIGN, text))
    return campaign.plan(root, "local", "tiny")


def test_blocks_hold_every_experiment_once_in_an_order_of_their_own(root):
    planned = blocked(root)
    assert len(planned) == 18
    orders = [[one.experiment for one in planned[3 * k : 3 * k + 3]] for k in range(6)]
    assert all(sorted(order) == ["baseline", "ddp_1node", "ddp_2gpu"] for order in orders)
    assert len({tuple(order) for order in orders}) > 2  # drawn, and
    again = [one.experiment for one in campaign.plan(root, "local", "tiny")]
    assert again == [one.experiment for one in planned]  # the same each time
    other = [one.experiment for one in campaign.plan(root, "mini-open", "tiny")]
    assert other != again  # of another system another one
    one = planned[4]
    assert one.seed == 1 and one.resolved["block"] == {
        "campaign": "tiny", "number": 1, "place": 2, "order": orders[1], "drawn_from": 3,
    }  # fmt: skip
    rows = campaign.as_rows(planned)
    assert [row["block"] for row in rows] == [k for k in range(6) for _ in range(3)]


def test_only_a_run_of_the_block_counts_in_it_and_it_stands_for_one_without(root):
    plain = {one.seed: one for one in campaign.plan(root, "local", "tiny")}
    finish(root, plain[4].resolved, "t-4")
    runs = {one.seed: one for one in blocked(root) if one.experiment == "baseline"}
    assert runs[4].state == "to run"
    finish(root, runs[5].resolved, "t-5")
    states = {one.seed: one.state for one in blocked(root) if one.experiment == "baseline"}
    assert states[4] == "to run" and states[5] == "finished"
    set_campaigns(root, CAMPAIGN)
    assert campaign.plan(root, "local", "tiny", seed=5)[0].state == "finished"


@pytest.mark.parametrize(
    ("change", "message"),
    [("blocks: 5", "blocks: 5 is not allowed"), ("blocks: 6\n    seeds: [1]", "seeds or blocks")],
)
def test_blocks_that_tell_too_little_or_two_things_are_refused(root, change, message):
    with pytest.raises(UsageError if "two" in message else Exception, match=message):
        blocked(root, BLOCKED.replace("blocks: 6", change))


def test_a_campaign_in_blocks_is_no_array(root, queue):
    planned = [
        replace(one, resolved={**one.resolved, "system": "magic-castle"}) for one in blocked(root)
    ]
    with pytest.raises(UsageError, match="one block after the other"):
        campaign.run(planned, root, arrays=True, report=quiet, follow=FakeJob.end)


LADDER = """
campaigns:
  tiny:
    blocks: 6
    gpu_hours: 4
    set: {train_images: 256, epochs: 1, untimed_steps: 1, global_batch: 128}
    optional: [fp16, ddp_2gpu]
    experiments:
      baseline:
      fp16:
      ddp_2gpu: [{world_size: 1}, {world_size: 2}, {world_size: 64, nodes: 64}]
      profile: {threads_per_rank: 1}
"""


def test_a_ladder_runs_its_rungs_within_its_hours(root):
    planned = blocked(root, LADDER)
    here = [one for one in planned if one.resolved]
    assert {one.experiment for one in planned if not one.resolved} == {"fp16", "ddp_2gpu"}
    assert any("64 nodes" in one.note for one in planned if one.experiment == "ddp_2gpu")
    blocks = [one for one in here if "block" in one.resolved]
    assert len(blocks) == 18 and len(here) == 19
    assert len(set(map(str, here))) == 19  # those that fail are told by name
    # What is profiled runs once, after them, and belongs to none.
    assert here[-1].experiment == "profile" and here[-1].seed == 0
    order = blocks[0].resolved["block"]["order"]
    assert set(order) == {
        "baseline",
        "fp16",
        *(f"ddp_2gpu world_size={n}" for n in ("1", "2", "64 nodes=64")),
    }
    # 6 blocks of 1 + 1 + 2 ranks and the profile: 25 shares of four hours, in whole minutes.
    assert {one.resolved["time_limit_min"] for one in here} == {9}
    with pytest.raises(UsageError, match="gpu_hours: 0.1 leaves 0.2 minutes for each of 19 runs"):
        path = root / "study.yaml"
        path.write_text(path.read_text().replace("gpu_hours: 4", "gpu_hours: 0.1"))
        campaign.plan(root, "local", "tiny")


def test_the_limit_of_a_campaign_is_that_of_its_jobs(root):
    loaded = study.load(root)
    resolved = study.resolve(loaded, "baseline", "mini-open", 0)
    assert not [one for one in submit._options(resolved, root) if one.startswith("--time")]
    assert "--time=9" in submit._options({**resolved, "time_limit_min": 9}, root)


def test_unknown_campaigns_and_empty_ones_are_one_line(root):
    with pytest.raises(UsageError, match="tiny"):
        campaign.plan(root, "local", "huge")
    text = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(text[: text.index("evidence:")])
    with pytest.raises(UsageError, match="name a campaign"):
        campaign.plan(root, "local")


def test_what_is_finished_is_not_run_again_and_what_failed_is(root, queue):
    outcomes = campaign.run(
        campaign.plan(root, "local", "tiny"), root, report=quiet, follow=FakeJob.end
    )
    assert [bool(one.stem) for one in outcomes] == [True] * 4
    assert len(queue) == 4
    again = campaign.plan(root, "local", "tiny")
    assert {one.state for one in again} == {"finished"}
    assert campaign.run(again, root, report=quiet, follow=FakeJob.end) == []
    assert len(queue) == 4
    for _ in range(2):
        failed = campaign.run(
            campaign.plan(root, "local", "tiny", seed=13), root, report=quiet, follow=FakeJob.end
        )
        assert all("it broke" in one.note for one in failed)
    assert len(queue) == 8


@pytest.mark.parametrize(
    "change",
    [{"epochs": 2}, {"lr": 0.2}, {"train_images": 96}, {"threads_per_rank": 2}, {"stem": "cifar"}],
)
def test_a_run_with_other_settings_is_another_run(root, change):
    for one in campaign.plan(root, "local", "tiny"):
        finish(root, one.resolved, f"s{one.experiment[:3]}{one.seed}")
    assert {one.state for one in campaign.plan(root, "local", "tiny")} == {"finished"}
    harmless = campaign.plan(root, "local", "tiny", overrides={"timeout_s": 5.0})
    assert {one.state for one in harmless} == {"finished"}
    other = campaign.plan(root, "local", "tiny", seed=4, overrides=change)
    assert any(one.state == "to run" for one in other)


def test_a_trial_does_not_stand_for_evidence(root):
    one = campaign.plan(root, "local", seed=0)[0]
    real = {"name": "cifar10", "sha256": "0" * 64, "subset": False, "train_images": 50000}
    shared = {"world": 1, "resolved": one.resolved, "dataset": real}
    epochs = (40.0,) * one.resolved["training"]["epochs"]
    add_run(root, "baseline", 0, accuracy=epochs, local=True, job_id="trial", **shared)
    assert campaign.plan(root, "local", seed=0)[0].state == "to run"
    stem = add_run(root, "baseline", 0, accuracy=epochs, job_id="counts", **shared)
    assert campaign.plan(root, "local", seed=0)[0].stem == stem


def test_a_job_that_is_at_work_is_followed_and_comes_first(root, queue):
    second = campaign.plan(root, "local", "tiny")[1]
    under_way = registry.submit(second.resolved, root)
    planned = campaign.plan(root, "local", "tiny")
    assert planned[1].job is under_way
    followed = []

    def follow(job):
        followed.append(job)
        return job.end()

    campaign.run(planned, root, report=quiet, follow=follow)
    assert followed[0] is under_way
    assert len(queue) == 4


def test_a_job_of_a_cluster_that_is_gone_is_run_again(root, queue, monkeypatch):
    one = campaign.plan(root, "mini-open", "tiny")[0]
    job = registry.submit(one.resolved, root)
    job.cluster = "mini-open-260101-000000-aa"
    here = SimpleNamespace(cluster_now=lambda: job.cluster)
    monkeypatch.setattr(slurm_job, "shared", lambda: here)
    assert campaign.plan(root, "mini-open", "tiny")[0].state == "under way"
    here.cluster_now = lambda: "mini-open-260202-000000-bb"
    assert campaign.plan(root, "mini-open", "tiny")[0].state == "to run"


def test_detaching_starts_nothing_more_here(root, queue):
    outcomes = campaign.run(
        campaign.plan(root, "local", "tiny"), root, report=quiet, follow=FakeJob.state
    )
    assert outcomes == []
    assert len(queue) == 1


def test_on_slurm_each_run_waits_for_the_one_before(root, queue):
    planned = campaign.plan(root, "magic-castle", "tiny")
    campaign.run(planned, root, report=quiet, follow=FakeJob.state)
    order = [(job.resolved["experiment"], job.resolved["seed"], after) for job, after in queue]
    assert order == [
        ("baseline", 4, []),
        ("ddp_2gpu", 4, ["j0"]),
        ("baseline", 5, ["j1"]),
        ("ddp_2gpu", 5, ["j2"]),
    ]
    assert {one.state for one in campaign.plan(root, "magic-castle", "tiny")} == {"under way"}
    campaign.run(
        campaign.plan(root, "magic-castle", "tiny"), root, report=quiet, follow=FakeJob.end
    )
    assert len(queue) == 4


def test_arrays_of_seeds_follow_one_another(root, queue):
    planned = campaign.plan(root, "magic-castle", "tiny")
    campaign.run(planned, root, arrays=True, report=quiet, follow=FakeJob.state)
    assert [(job.resolved["experiment"], after) for job, after in queue] == [
        ("baseline", []),
        ("baseline", []),
        ("ddp_2gpu", ["j0", "j1"]),
        ("ddp_2gpu", ["j0", "j1"]),
    ]
    with pytest.raises(UsageError, match="job arrays"):
        campaign.run(campaign.plan(root, "local", "tiny"), root, arrays=True, report=quiet)


@pytest.mark.slow
def test_the_command_runs_it_for_real_and_then_has_nothing_to_do(root):
    command = [sys.executable, "-m", "scalebook.cli", "run", "--all", "--campaign", "tiny",
               "--system", "local", "--seed", "4"]  # fmt: skip
    listing = subprocess.run(
        [*command, "--dry-run"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert listing.stdout.count("to run") == 2
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done: ") == 2
    assert "[2/2] ddp_2gpu, seed 4" in done.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 runs are finished" in again.stderr
    manifests = list((root / "results/local/manifests").glob("*.json"))
    assert len(manifests) == 2
    for path in manifests:
        assert contract.read_json(path)["seed"] == 4


def failures_with(setting):
    """Lines in which a campaign with a setting that cannot work says so."""
    done = subprocess.run(
        [sys.executable, "-m", "scalebook.cli", "run", "--all", "--campaign", "tiny",
         "--system", "local", "--seed", "4", "--set", setting, "--json"],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1
    return [line for line in done.stderr.splitlines() if line.startswith("scalebook: ")]


@pytest.mark.slow
def test_a_failed_run_is_one_line_and_exit_status_1(root):
    failures = failures_with("model=alexnet")
    assert len(failures) == 2
    assert "model alexnet" in failures[0]


def test_a_run_without_its_images_is_one_line_before_any_starts(root):
    failures = failures_with("dataset=cifar10")
    assert len(failures) == 1 and "scalebook data get" in failures[0]
    assert not (root / ".scalebook/jobs").exists()


def test_a_campaign_of_one_round_runs_in_the_order_written(root):
    text = (root / "study.yaml").read_text()
    text = text.replace("seeds: [4, 5]", "seeds: [4]").replace(
        "      baseline:\n      ddp_2gpu: {train", "      profile:\n      ddp_2gpu: {train"
    )
    (root / "study.yaml").write_text(text)
    planned = campaign.plan(root, "local", "tiny")
    assert [one.experiment for one in planned] == ["profile", "ddp_2gpu"]


def test_what_the_budget_does_not_allow_is_left_out_and_told(root, queue, monkeypatch):
    local = SimpleNamespace(queues=False)
    monkeypatch.setattr(registry, "launcher_of", lambda loaded, system: local)
    allowed = iter([True, True, False])
    monkeypatch.setattr(Budget, "allows_another", property(lambda budget: next(allowed)))
    lines = []
    outcomes = campaign.run(
        campaign.plan(root, "local", "tiny"),
        root,
        report=lines.append,
        follow=FakeJob.end,
        budget=Budget("8m"),
    )
    assert len(outcomes) == len(queue) == 2
    assert lines[-1] == "left out, since the budget of 8m is used up: 2 runs"
    local.queues = True
    with pytest.raises(UsageError, match="--budget: jobs on Slurm"):
        campaign.run(campaign.plan(root, "local", "tiny"), root, report=quiet, budget=Budget("8m"))


def test_hours_of_a_campaign_of_which_nothing_can_run_here(root):
    planned = blocked(
        root,
        LADDER.replace("baseline:", "ddp_1node: {nodes: 64, world_size: 64}")
        .replace("[fp16, ddp_2gpu]", "[fp16, ddp_2gpu, ddp_1node, profile]")
        .replace("{world_size: 1}, {world_size: 2}, ", "")
        .replace("{threads_per_rank: 1}", "{nodes: 64, world_size: 64}"),
    )
    assert planned and all(one.state == "cannot run here" for one in planned)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[fp16,", "[f16,"), "optional: 'f16' is no experiment of the campaign"),
        (("[{world_size: 1}", "[{world_size: 2}"), "experiments.ddp_2gpu: .* is there twice"),
        (("gpu_hours: 4", "gpu_hours: 1.0e+300"), "gpu_hours: 1e.300 is not allowed"),
    ],
)
def test_what_a_campaign_says_twice_or_of_nothing_is_refused(root, change, message):
    with pytest.raises(ScalebookError, match=message):
        blocked(root, LADDER.replace(*change))


def test_a_setting_for_all_makes_no_run_twice(root):
    blocked(root, LADDER)
    with pytest.raises(UsageError, match="ways in which the campaign runs ddp_2gpu one and"):
        campaign.plan(root, "local", "tiny", overrides={"world_size": 1, "nodes": 1})
    with pytest.raises(UsageError, match="seed 77: campaign tiny has blocks 0 to 5"):
        campaign.plan(root, "local", "tiny", seed=77)
    with pytest.raises(UsageError, match="no campaign ''"):
        campaign.plan(root, "local", "")


def test_settings_of_evidence_that_no_longer_hold_are_named_as_such(root):
    resolved = study.resolve(study.load(root), "baseline", "local", 0, {})
    finish(root, {**resolved, "overrides": {"gone": 3}}, "t-0", local=False, data="cifar10")
    notes = {one.note for one in campaign.plan(root, "local") if one.experiment == "baseline"}
    (note,) = notes
    assert note.startswith("as its evidence was run or asked for, gone=3: gone: unknown key")


def test_evidence_that_keeps_no_settings_is_named(root):
    resolved = study.resolve(study.load(root), "baseline", "local", 0)
    finish(root, resolved, "t-0", local=False, data="cifar10")
    assert without_settings("local") == []
    path = next((root / "results/manifests").glob("*.json"))
    document = contract.read_json(path)
    del document["resolved"]
    contract.write_json(path, document)
    assert without_settings("local") == [path.stem]
