"""``study.yaml``: what is taken, what is refused, and in which words."""

import json
import subprocess
import sys

import pytest
from paths import REPOSITORY

from scalebook import study
from scalebook.contract import ScalebookError, UsageError
from scalebook.study import citation
from scalebook.study.document import read_text

STUDY = """
name: other
defaults: {model: mobilenet_v2, global_batch: 32, epochs: 4}
experiments:
  one: {world_size: 1}
  two: {world_size: 2, batch_per_rank: 32, scaling: weak, reference: one}
systems:
  local: {launcher: local}
  small: {launcher: slurm}
campaigns:
  ladder: {set: {epochs: 1, global_batch: 8}, experiments: {one: , two: {epochs: 2}}}
evidence:
  - {experiments: [one], datasets: [cifar10], min_epochs: 3}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))

    def writer(text=STUDY, old="", new=""):
        assert old in text
        (tmp_path / "study.yaml").write_text(text.replace(old, new, 1))
        return tmp_path

    return writer


def test_defaults_fill_in_and_a_batch_given_one_way_replaces_the_other(write):
    loaded = study.load(write())
    assert loaded.experiments["one"].images_per_step == 32
    assert loaded.experiments["two"].images_per_step == 64
    assert loaded.experiments["two"].model == "mobilenet_v2"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 4", "epoch: 4", r"study.yaml: defaults.epoch: unknown key; allowed are .*epochs"),
        ("one: {", "one: {lrr: 1, ", r"experiments.one.lrr: unknown key; allowed are .*\blr\b"),
        ("one: {", "one: {lr: fast, ", r"experiments.one.lr: 'fast' is not allowed: .*number"),
        ("one: {", "one: {epochs: 0, ", r"experiments.one.epochs: 0 is not allowed: .*1"),
        ("one: {", "one: {epochs: true, ", r"experiments.one.epochs: True is not allowed"),
        ("one: {", "one: {precision: fp61, ", r"precision: 'fp61' is not allowed: .*'fp16'"),
        ("one: {", "one: {global_batch: 8, batch_per_rank: 4, ", r"give one of the two"),
        ("world_size: 1", "nodes: 1", r"experiments.one.world_size: is missing"),
        ("reference: one", "reference: zero", r"no experiment 'zero'; there are one, two"),
        ("launcher: local", "launcher: 'a b'", r"systems.local.launcher: 'a b' is not allowed"),
        ("min_epochs", "epochs", r"evidence.0.epochs: unknown key; allowed are .*min_epochs"),
        ("epochs: 4", "epochs: ten", r"study.yaml: defaults.epochs: 'ten' is not allowed"),
        ("systems:", "sistems:", r"study.yaml: sistems: unknown key; allowed are .*systems"),
        ("experiments:", "experimentz:", r"study.yaml: experiments: must name"),
        ("one: {", "one: {script: /bin/sh, ", r"experiments.one.script: '/bin/sh' is not allowed"),
        ("one: {", "one: {script: slurm/../x, ", r"experiments.one.script: .* not allowed"),
        ("one: {", "one: {script: slurm/-x, ", r"experiments.one.script: .* not allowed"),
        ("one: {", "one: {script: 'a;b', ", r"experiments.one.script: .* not allowed"),
        ("small: {", "small: {slurm: {partition: '-p x'}, ", r"slurm.partition: .* not allowed"),
        ("small: {", "small: {slurm: {account: 'a,b'}, ", r"slurm.account: 'a,b' is not allowed"),
        ("small: {", "small: {slurm: {qos: $(x)}, ", r"slurm.qos: .* not allowed"),
        ("small: {", "small: {slurm: {time: 1:30:00}, ", r"slurm.time: write a time in quotes"),
        ("small: {", "small: {slurm: {time: '-1'}, ", r"slurm.time: '-1' is not allowed"),
        ("small: {", "small: {slurm: {memory: 4GB}, ", r"slurm.memory: '4GB' is not allowed"),
        ("small: {", "small: {slurm: {container: --x}, ", r"slurm.container: .* not allowed"),
        ("small: {", "small: {slurm: {nodes: 1}, ", r"slurm.nodes: unknown key; .*partition"),
        ("small: {", "small: {cluster: 'a b', ", r"systems.small.cluster: 'a b' is not allowed"),
        ("local: {", "local: {cluster: x, ", r"systems.local: cluster is for launcher slurm"),
        ("ladder: {", "ladder: {seeds: [], ", r"campaigns.ladder.seeds: \[\] is not allowed"),
        ("two: {epochs: 2}", "three: {}", r"campaigns.ladder.*: no experiment 'three'; there are"),
        ("two: {epochs: 2}", "two: {epoch: 2}", r"campaigns.ladder: .* two: epoch: unknown key"),
        ("two: {epochs: 2}", "two: {epochs: 0}", r"campaigns.ladder: .* two: epochs: 0 is not"),
        ("name: other", "name: [", r"study.yaml line \d+: not valid YAML"),
        ("name: other", "name: x\0", r"study.yaml: not valid YAML \(unacceptable character"),
        ("name: other", "name: other\ntitle: 2025-04-31", r"not valid YAML \(day .*range.*\)"),
        ("name: other", "name: " + "[" * 2000, r"study.yaml: not valid YAML \(nested too deeply"),
        ("name: other", "name: other\nname: b", r"study.yaml line 3: .*key 'name' is there twice"),
        ("  two:", "  one: {}\n  two:", r"study.yaml line 6: .*key 'one' is there twice"),
        ("one: {", "one: {world_size: 2, ", r"study.yaml line 5: .*'world_size' is there twice"),
        ("name: other", "name: other\nroot: /", r"study.yaml: root: unknown key; allowed are name"),
        (
            "{model: mobilenet_v2, global_batch: 32, epochs: 4}",
            "[]",
            r"defaults: must be a mapping",
        ),
        ("one: {", "one: {dataset: mnist, ", r"one.dataset: 'mnist' .* 'folder' or 'synthetic'"),
        ("one: {", "one: {lr: .inf, ", r"experiments.one.lr: inf is not allowed: .*finite"),
        ("one: {", "one: {lr: .nan, ", r"experiments.one.lr: nan is not allowed"),
        ("one: {", "one: {threads_per_rank: 9999999999, ", r"threads_per_rank: 9999999999 is not"),
        ("systems:", "seeds: [1, 1]\nsystems:", r"seeds: 1 is there twice: each seed is one run"),
        ("systems:", "seeds: [-1]\nsystems:", r"seeds.0: -1 is not allowed: .* equal to 0"),
        ("systems:", f"seeds: [{2**64}]\nsystems:", rf"seeds.0: {2**64} is not allowed: .*less"),
        ("ladder: {", "ladder: {system: x, ", r"campaigns.ladder.system: there is no system 'x'"),
        ("two: {epochs: 2}", "two: {epochs: []}", r"campaigns.ladder: .* two: epochs: \[\] is not"),
        ("ladder: {", "ladder: {seeds: [2, 2], ", r"campaigns.ladder.seeds: 2 is there twice"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_what_is_allowed(write, old, new, said):
    with pytest.raises(ScalebookError, match=said) as caught:
        study.load(write(old=old, new=new))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("relative", ["study.yaml", "data/systems/small.yaml", "data/plan.yaml"])
def test_a_file_that_is_not_utf8_is_one_line(write, relative):
    root = write()
    (root / relative).parent.mkdir(parents=True, exist_ok=True)
    (root / relative).write_bytes(b"name: caf\xe9\n" + STUDY.encode("utf-8"))
    with pytest.raises(ScalebookError, match=rf"{relative}: is not UTF-8 \(byte 10\)"):
        study.load(root).facts("small")
        study.load(root).plan  # noqa: B018


def test_a_file_without_end_is_refused_unread(tmp_path):
    with open(tmp_path / "large.yaml", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ScalebookError, match="large.yaml: larger than 4 MiB, refused"):
        read_text(tmp_path, "large.yaml")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_other_editors_encodings_are_read(write, encoding):
    root = write()
    path = root / "study.yaml"
    expected = study.load(root)
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert study.load(root) == expected


def test_numbers_may_have_an_exponent_and_no_point(write):
    loaded = study.load(write(old="one: {", new="one: {lr: 1e-3, description: 1e-x, "))
    assert loaded.experiments["one"].lr == 0.001
    assert loaded.experiments["one"].description == "1e-x"
    assert study.parse_overrides(["lr=5e-2", "weight_decay=+1E-4"]) == {
        "lr": 0.05,
        "weight_decay": 1e-4,
    }


def test_aliases_and_merges_of_yaml_stay_allowed(write):
    shared = "one: &one {world_size: 1}\n  three: {<<: *one, epochs: 9}"
    three = study.load(write(old="one: {world_size: 1}", new=shared)).experiments["three"]
    assert (three.world_size, three.epochs) == (1, 9)


@pytest.mark.parametrize("value", ["[", "2025-04-31", "[" * 2000, "9" * 5000, "*a", "\0"])
def test_an_override_that_is_no_yaml_is_one_short_line(value):
    with pytest.raises(UsageError, match="--set epochs: .* is not a YAML value") as caught:
        study.parse_overrides([f"epochs={value}"])
    assert len(str(caught.value)) < 90


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_is_a_small_number(write, seed):
    with pytest.raises(UsageError, match=f"seed: {seed} is no whole number from 0 to 2147483647"):
        study.resolve(study.load(write()), "one", "local", seed=seed)


def test_nothing_in_a_study_can_be_changed(write):
    loaded = study.load(write())
    with pytest.raises(Exception, match="frozen"):
        loaded.experiments["one"].epochs = 9


def test_overrides_take_yaml_values_and_refuse_unknown_keys():
    assert study.parse_overrides(["epochs=3", "lr=0.5"]) == {"epochs": 3, "lr": 0.5}
    with pytest.raises(UsageError, match="unknown key; allowed are"):
        study.parse_overrides(["epoch=3"])
    with pytest.raises(UsageError, match="write key=value"):
        study.parse_overrides(["epochs"])


def test_an_override_beats_experiment_and_defaults(write):
    loaded = study.load(write())
    resolved = study.resolve(loaded, "two", "local", overrides={"global_batch": 10, "epochs": 7})
    assert resolved["global_batch"] == 10
    assert resolved["training"]["epochs"] == 7
    with pytest.raises(UsageError, match="--set: epochs: 'x' is not allowed"):
        study.resolve(loaded, "two", "local", overrides={"epochs": "x"})


@pytest.mark.parametrize(
    ("experiment", "overrides", "said"),
    [
        ("one", {"precision": "fp16"}, "precision fp16 needs a GPU.*allowed on a CPU are fp32"),
        ("one", {"precision": "tf32"}, "precision tf32 needs a GPU"),
        ("two", {"world_size": 3, "nodes": 2}, "3 ranks"),
        ("one", {"global_batch": 2, "world_size": 3}, "less than world_size"),
    ],
)
def test_an_impossible_combination_is_refused(write, experiment, overrides, said):
    with pytest.raises(UsageError, match=said):
        study.resolve(study.load(write()), experiment, "local", overrides=overrides, device="cpu")


def test_three_ranks_do_not_fit_on_two_nodes_of_one_gpu(write):
    root = write()
    (root / "data" / "systems").mkdir(parents=True)
    (root / "data" / "systems" / "small.yaml").write_text("name: s\nnodes: 2\ngpus_per_node: 1\n")
    loaded = study.load(root)
    assert study.resolve(loaded, "two", "small")["layout"]["nodes"] == 2
    with pytest.raises(UsageError, match="3 ranks need 3 nodes of 1 GPU, and it has 2") as caught:
        study.resolve(loaded, "one", "small", overrides={"world_size": 3})
    assert str(caught.value).startswith("--set world_size on system small: ")


def test_fp16_on_a_cpu_names_file_key_and_what_is_allowed(study_root):
    with pytest.raises(UsageError) as caught:
        study.resolve(study.load(), "fp16", "local", device="cpu")
    said = str(caught.value)
    assert said.startswith("study.yaml: experiments.fp16.precision on system local: ")
    assert "allowed on a CPU are fp32 and bf16" in said


def facts_of(root, text):
    (root / "data" / "systems").mkdir(parents=True)
    (root / "data" / "systems" / "small.yaml").write_text(f"name: small\n{text}")
    return study.load(root)


def test_ranks_spread_over_nodes_without_gpus_unless_the_experiment_says_otherwise(write):
    text = "nodes: 2\ngpus_per_node: 0\nranks_per_node: 1\ncpus_per_node: 2\n"
    loaded = facts_of(write(), text)

    def layout(**overrides):
        return study.resolve(loaded, "two", "small", overrides=overrides)["layout"]

    spread, packed = layout(), layout(nodes=1)
    assert (spread["device"], spread["nodes"], spread["ranks_per_node"]) == ("cpu", 2, 1)
    assert (packed["nodes"], packed["ranks_per_node"]) == (1, 2)
    for overrides, said in (
        ({"world_size": 3}, "3 ranks need 3 nodes of 1 rank, and it has 2"),
        ({"nodes": 1, "world_size": 4}, "4 ranks a node, and a node has 2 CPUs"),
        ({"nodes": 1, "threads_per_rank": 2}, "2 ranks of 2 threads a node, and a node has 2 CPUs"),
    ):
        with pytest.raises(UsageError, match=said):
            layout(**overrides)


def test_where_and_how_slurm_runs_it_is_no_part_of_the_resolved_document(write):
    plain = study.load(write())
    slurm = "small: {cluster: 'c-*', slurm: {partition: gpu, time: '10', memory: 4096}, "
    chosen = study.load(
        write(STUDY.replace("one: {", "one: {script: own/x.sbatch, "), "small: {", slurm)
    )
    assert chosen.experiments["one"].script == "own/x.sbatch"
    assert chosen.systems["small"].slurm.memory == "4096"
    assert plain.experiments["one"].script == "slurm/train.sbatch"
    assert study.resolve(plain, "one", "small") == study.resolve(chosen, "one", "small")


def test_a_setting_of_a_campaign_that_is_a_list_runs_with_each_of_its_values(write):
    new = "two: [{epochs: [1, 2], precision: [fp32, bf16]}, {epochs: 3}]"
    runs = study.load(write(old="two: {epochs: 2}", new=new)).campaign("ladder").runs
    assert [(own["epochs"], own.get("precision")) for name, own in runs if name == "two"] == [
        (1, "fp32"), (1, "bf16"), (2, "fp32"), (2, "bf16"), (3, None),
    ]  # fmt: skip


def test_a_system_may_say_its_device(write):
    loaded = study.load(write(old="{launcher: local}", new="{launcher: local, device: gpu}"))
    assert study.resolve(loaded, "one", "local")["layout"]["device"] == "gpu"
    assert study.resolve(loaded, "one", "local", device="cpu")["layout"]["device"] == "cpu"


def test_a_campaign_puts_its_settings_over_the_experiments(write):
    loaded = study.load(write())
    campaign = loaded.campaign("ladder")
    assert list(campaign.experiments) == ["one", "two"] and campaign.seeds is None
    (_, one), (_, two) = campaign.runs
    assert one == {"epochs": 1, "global_batch": 8}
    resolved = study.resolve(loaded, "two", "local", overrides=two)
    assert (resolved["training"]["epochs"], resolved["global_batch"]) == (2, 8)
    with pytest.raises(UsageError, match="no campaign 'x' in study.yaml; there are ladder"):
        loaded.campaign("x")


def test_a_trial_on_few_images_is_no_evidence_where_a_rule_wants_more(write):
    rule = "subsets: true, min_train_images: 1000, min_epochs"
    loaded = study.load(write(old="min_epochs", new=rule))
    for images, admitted in ((999, []), (1000, ["cifar10"]), (None, ["cifar10"])):
        overrides = {"train_images": images}
        assert (
            study.resolve(loaded, "one", "local", overrides=overrides)["evidence_datasets"]
            == admitted
        )


def keys(document):
    nested = {key: sorted(value) for key, value in document.items() if isinstance(value, dict)}
    return sorted(document), {**nested, "overrides": None}


def test_runs_that_are_there_resolve_to_what_they_were():
    loaded = study.load(REPOSITORY)
    manifests = sorted((REPOSITORY / "results" / "manifests").glob("*.json"))
    assert manifests
    for path in manifests:
        then = json.loads(path.read_text())["resolved"]
        then.pop("block", None)  # which the campaign adds
        now = study.resolve(
            loaded, then["experiment"], then["system"], then["seed"], then["overrides"],
            device=then["layout"]["device"],
        )  # fmt: skip
        # A key more or less, and the run could not be continued.
        assert keys(now) == keys(then), path.name


def test_unknown_names_list_the_known_ones(write):
    loaded = study.load(write())
    with pytest.raises(UsageError, match="no experiment 'three' in study.yaml; there are one, two"):
        study.resolve(loaded, "three", "local")
    with pytest.raises(UsageError, match="no system 'x' in study.yaml; there are local, small"):
        study.resolve(loaded, "one", "x")


def test_only_a_run_that_a_rule_admits_may_become_evidence(write):
    loaded = study.load(write())
    admitted = study.resolve(loaded, "one", "local")
    assert admitted["evidence_datasets"] == ["cifar10"]
    for overrides in ({"epochs": 2}, {"train_images": 100}):
        trial = study.resolve(loaded, "one", "local", overrides=overrides)
        assert trial["evidence_datasets"] == []
    assert study.resolve(loaded, "two", "local")["evidence_datasets"] == []


def test_a_resolved_experiment_is_json_without_absolute_paths(write):
    root = write()
    text = json.dumps(study.resolve(study.load(root), "one", "local"))
    assert str(root) not in text


def test_the_command_prints_one_line_and_exits_with_2(write):
    root = write()
    for arguments in (["resolve", "nope"], ["resolve", "one", "--set", "epoch=1"]):
        done = subprocess.run(
            [sys.executable, "-m", "scalebook.cli", *arguments],
            cwd=root,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("scalebook: ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("written", ["", "a book", "[{title: A, authors: [{name: B}]}]"])
def test_a_preferred_citation_that_is_no_mapping_is_not_passed_over(tmp_path, written):
    (tmp_path / citation.FILE).write_text(f"cff-version: 1.2.0\npreferred-citation: {written}\n")
    with pytest.raises(ScalebookError, match=r"^CITATION\.cff: preferred-citation: [^\n]+$"):
        citation.authors(tmp_path)
