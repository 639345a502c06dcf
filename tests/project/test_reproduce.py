"""reproduce.md, run from top to bottom in a copy of the study whose runs take seconds."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook import study
from scalebook.cli import main
from scalebook.train.tools import campaign

PAGE = REPOSITORY / "reproduce.md"

#: Where a block runs, as the comment above it says; the first two are executed here.
PLACES = ("local", "cluster", "network", "ssh", "gpu", "image", "browser", "tex", "tests")
_BLOCK = re.compile(
    r"^(?P<pad> *)(?:<!-- runs: (?P<place>\w+) -->\n *)?```(?P<language>\w*)\n(?P<body>.*?)^ *```$",
    re.M | re.S,
)


class Block(NamedTuple):
    place: str | None
    line: int
    script: str

    def commands(self) -> list[list[str]]:
        """Words of each command, without loops, counters and the variables set before it."""
        found = []
        for line in self.script.replace("\\\n", " ").splitlines():
            words = [] if re.match(r" *[a-z]+=", line) else shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] not in ("for", "done"):
                found.append([word.replace("$block", "0").replace("$link", "1gbit")
                              .replace("${link#open}", "1gbit") for word in words])  # fmt: skip
        return found


def blocks() -> list[Block]:
    text = PAGE.read_text(encoding="utf-8")
    return [
        Block(
            found["place"],
            text.count("\n", 0, found.start("body")) + 1,
            "".join(line.removeprefix(found["pad"]) for line in found["body"].splitlines(True)),
        )
        for found in _BLOCK.finditer(text)
    ]


def calls(program: str) -> list[list[str]]:
    """Arguments of every call of a program, in any block."""
    return [words[1:] for block in blocks() for words in block.commands() if words[0] == program]


# --------------------------------------------------------------------------- what is named exists


def test_every_block_says_where_it_runs():
    assert len(blocks()) == PAGE.read_text().count("```") // 2 > 10
    assert {block.place for block in blocks()} == set(PLACES)


def test_only_programs_that_are_checked_here_are_called():
    used = {words[0] for block in blocks() for words in block.commands()}
    checked = {"scalebook", "sbatch", "make", "apptainer", "rsync", "python", "."}
    assert used - checked == {"jb", "squeue", "sacct"}  # executed below


def parsed(arguments: list[str]) -> tuple[click.Command, dict]:
    """Command of the `scalebook` line and its parameters; fails as the command would."""
    command: click.Command = main
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(click.Context(command), arguments)
        assert command is not None, name
    return command, command.make_context(command.name, list(arguments)).params


@pytest.mark.parametrize("arguments", calls("scalebook"), ids=" ".join)
def test_scalebook_takes_what_is_written(arguments, study_root):
    _, given = parsed(arguments)
    loaded = study.load()
    if given.get("experiment"):
        settings = study.parse_overrides(given["overrides"])
        study.resolve(loaded, given["experiment"], given["system"], given["seed"], settings)
    if given.get("system", "auto") != "auto":
        assert given["system"] in loaded.systems
    if given.get("campaign"):
        assert given["campaign"] in loaded.campaigns


@pytest.mark.parametrize("arguments", calls("python"), ids=" ".join)
def test_modules_take_what_is_written(arguments):
    assert arguments[:2] == ["-m", "scalebook.train.tools.campaign"]
    campaign._parser().parse_args(arguments[2:])


def test_each_block_runs_over_every_link_and_each_order_of_them_once(study_root):
    loaded = study.load()
    orders = re.findall(r'"((?:open|\d+[mg]bit)(?: \w+)+)"', PAGE.read_text())
    links = [name.partition("-")[2] for name in loaded.systems if name.startswith("mini")]
    assert sorted(order.split() for order in orders) == sorted(map(list, permutations(links)))
    assert len(orders) == loaded.campaign("small-cluster").blocks


@pytest.mark.parametrize("arguments", calls("sbatch"), ids=" ".join)
def test_sbatch_finds_script_and_settings(arguments, study_root):
    at = next(number for number, word in enumerate(arguments) if word.endswith(".sbatch"))
    script = REPOSITORY / arguments[at]
    assert script.is_file()
    # Options are those that the scripts themselves name, or that wait.
    own = "".join(path.read_text() for path in (REPOSITORY / "slurm").glob("*.sbatch"))
    for word in arguments[:at]:
        if word.startswith("-"):
            assert word == "--wait" or f"[{word} " in own or f"{word.partition('=')[0]}=" in own
    rest = arguments[at + 1 :]
    if rest and not rest[0].startswith("-"):
        study.load().experiment(rest.pop(0))
    parsed(["resolve", "baseline", *rest])


def test_every_script_for_the_experiments_is_submitted():
    named = {word for arguments in calls("sbatch") for word in arguments}
    scripts = {f"slurm/{path.name}" for path in (REPOSITORY / "slurm").glob("*.sbatch")}
    assert scripts - named == {"slurm/train.sbatch"}


def test_variables_before_sbatch_are_those_of_the_scripts():
    told = (REPOSITORY / "slurm/common.sh").read_text()
    for name in re.findall(r"\b([A-Z_]+)=\S+ (?=.*sbatch)", PAGE.read_text()):
        assert f"#   {name} " in told, name


@pytest.mark.parametrize("arguments", calls("make"), ids=" ".join)
def test_make_knows_target_and_variable(arguments):
    text = (REPOSITORY / "Makefile").read_text()
    for word in arguments:
        name, equals, _ = word.partition("=")
        assert re.search(rf"^{name} \??=" if equals else rf"^{name}:", text, re.M), word


@pytest.mark.parametrize("arguments", calls("apptainer"), ids=" ".join)
def test_the_image_is_built_from_a_recipe_that_has_the_arguments(arguments):
    recipe = (REPOSITORY / arguments[-1]).read_text()
    assert arguments[0] == "build" and arguments[-2] == "project.sif"
    for word in arguments[1:-2]:
        assert word == "--build-arg" or re.search(rf"^    {word.partition('=')[0]}=", recipe, re.M)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not here")
def test_rsync_brings_results_and_overwrites_none(tmp_path):
    (arguments,) = calls("rsync")
    there, here = tmp_path / "there/scalebook/results", tmp_path / "here"
    for name in ("csv/new.csv", "csv/old.csv", "local/csv/trial.csv"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("theirs")
    (here / "results/csv").mkdir(parents=True)
    (here / "results/csv/old.csv").write_text("ours")
    arguments = [word.replace("USER@HOST:", f"{tmp_path}/there/") for word in arguments]
    subprocess.run(
        ["rsync", *arguments], cwd=here, check=True, timeout=PATIENCE_S, capture_output=True
    )
    found = {path.name: path.read_text() for path in here.rglob("*.csv")}
    assert found == {"new.csv": "theirs", "old.csv": "ours"}


# --------------------------------------------------------------------------- what runs here

#: Put before Slurm's own: `sbatch --wait` looks ever less often, and the curve is cut short.
SBATCH = """\
#!/bin/bash
set -eu
case " $* " in *" --parsable "*) exec {sbatch} "$@" ;; esac
wait="" script=""
for word; do
  shift
  case $word in --wait) wait=yes; continue ;; *.sbatch) script=$word ;; esac
  set -- "$@" "$word"
done
[ "$script" != slurm/test_allreduce.sbatch ] || set -- "$@" --max-bytes 4096
job=$({sbatch} --parsable "$@")
echo "Submitted batch job $job"
[ -n "$wait" ] || exit 0
while squeue --noheader --jobs="$job" | grep -q .; do sleep 0.2; done
exit "$(scontrol show job "$job" | sed -n 's/.* ExitCode=\\([0-9]*\\):.*/\\1/p')"
"""
#: What a reader does between two blocks: wait until the jobs have ended.
WAIT = "while squeue --noheader 2>/dev/null | grep -q .; do sleep 0.2; done\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """What git sees of this project, with generated images and few of them; `.venv` is this one."""
    root = tmp_path / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    (root / ".venv").symlink_to(sys.prefix)
    for split in ("train", "test"):  # test_environment looks for images, and into none of them
        (root / "data/set" / split / "class").mkdir(parents=True)
        (root / "data/set" / split / "class/1.png").touch()
    (root / "env/setup.sh").write_text("#!/bin/sh\n")
    path = root / "study.yaml"
    small = yaml.safe_load(path.read_text())
    few = {"train_images": 256, "val_images": 64, "untimed_steps": 0}
    small["defaults"] |= {"dataset": "synthetic", "epochs": 1, **few}
    small["experiments"]["quick"] |= few
    small["experiments"]["profile"] |= {**few, "global_batch": 16}
    cluster = small["campaigns"]["small-cluster"]
    cluster["set"] |= few
    cluster["experiments"] = {"ddp_2gpu": {"allreduce": True}}
    small["campaigns"]["local"]["set"] |= few
    small["seeds"] = [0]
    path.write_text(yaml.safe_dump(small, sort_keys=False))
    return root


def run(root: Path, script: str, **environment: str) -> str:
    """What a reader's shell says to a script that must not fail."""
    shims = root / "_build" / "bin"
    shims.mkdir(parents=True, exist_ok=True)
    if real := shutil.which("sbatch"):
        (shims / "sbatch").write_text(SBATCH.replace("{sbatch}", real))
        (shims / "sbatch").chmod(0o755)
    given = {**os.environ, **environment}
    kept = {name: value for name, value in given.items() if not name.startswith("SCALEBOOK")}
    path = f"{shims}:{Path(sys.executable).parent}:{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=root,
        text=True,
        timeout=3 * PATIENCE_S,  # a whole page of commands
        env={**kept, "PATH": path, "PYTHONPATH": f"{root}/src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def of_place(place: str, *lacking: str) -> str:
    """Script of all blocks of a place that do not hold the words `lacking`."""
    wait = WAIT if place == "cluster" else ""
    return "".join(
        f"echo == line {block.line}, after $SECONDS s\n{block.script}{wait}"
        for block in blocks()
        if block.place == place and not any(word in block.script for word in lacking)
    )


@pytest.mark.slow
def test_local_blocks_run_from_top_to_bottom(small):
    script = of_place("local").replace("--campaign local", "--campaign local --seed 0")
    said = run(small, script)
    assert (small / "_build/html/index.html").is_file()
    for kind, suffix in (("csv", ".csv"), ("steps", ".csv.gz"), ("manifests", ".json"),
                         ("logs", ".log")):  # fmt: skip
        names = {path.name.split("_t")[0] for path in (small / "results/local" / kind).iterdir()}
        assert {"baseline", "ddp_2gpu", "profile", "quick"} <= names, said
        assert all(p.name.endswith(suffix) for p in (small / "results/local" / kind).iterdir())
    assert list((small / "_build/reports").glob("baseline_*.html"))


@pytest.mark.browser
def test_the_plots_are_made(small):
    (small / "results/plots/scaling_efficiency.svg").unlink()
    run(small, of_place("browser"))
    assert (small / "results/plots/scaling_efficiency.svg").is_file()


@pytest.mark.slurm
def test_jobs_are_submitted_awaited_and_collected(small, cluster):
    said = run(small, of_place("cluster", "cluster-up"), **cluster.env)
    logs = small / "results/local/logs"
    assert {path.name.split("_t")[0] for path in logs.glob("*.sacct.csv")} == {
        "baseline",
        "ddp_2gpu",
        "profile",
    }, said
    assert list((small / "results/allreduce").glob("*.csv"))
    assert {path.name.rpartition("-")[0] for path in (small / "slurm/logs").glob("*.log")} == {
        "test_environment", "test_allreduce", "ddp_baseline", "ddp_2gpu", "profile_pytorch"
    }  # fmt: skip


@pytest.mark.slurm
@pytest.mark.slow
def test_the_small_cluster_goes_up_trains_and_goes_down(small):
    name = f"repro-{os.getpid()}"
    (script,) = [block.script for block in blocks() if "cluster-up" in block.script]
    script = re.sub(r"for links in .*?; do", 'for links in "1gbit"; do', script, flags=re.S)
    script = script.replace("scalebook-default", f"scalebook-{name}")
    try:
        said = run(small, script, MAKEFLAGS=f"NAME={name}")
    finally:
        down = [sys.executable, "-m", "minislurm", "down", "--name", name]
        subprocess.run(down, capture_output=True, timeout=PATIENCE_S)
    curves = (small / "results/local/allreduce").glob("*.json")
    assert any('"mini-1gbit"' in path.read_text() for path in curves), said
    stems = {path.name.split("_t")[0] for path in (small / "results/local/csv").iterdir()}
    assert stems == {"ddp_2gpu"}, said
