"""The commands under a figure: those that are printed are ones that this study takes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import PurePosixPath

import pytest
from click.testing import CliRunner
from paths import REPOSITORY

from scalebook import figures, study
from scalebook.cli import main
from scalebook.contract import UsageError
from scalebook.publish.origins import repeat


@pytest.fixture
def whole(monkeypatch):
    """This project's study with its results."""
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    return study.load(REPOSITORY)


def commands(line: str) -> list[list[str]]:
    """The commands of a line, of a loop with each of its values."""
    if not line.startswith("for seed in "):
        return [shlex.split(line)]
    seeds, _, rest = line.removeprefix("for seed in ").partition("; do ")
    once = rest.removesuffix("; done")
    return [shlex.split(once.replace("$seed", seed)) for seed in seeds.split()]


@pytest.mark.slow
def test_each_line_that_runs_again_is_one_that_the_study_takes(whole):
    lines: set[str] = set()
    for name, one in figures.registered().items():
        if one.alone:
            again = repeat.run_again(figures.build(name).layout.meta["sources"])
            assert all(line.removeprefix("# ") in repeat.KINDS for line in again if line[0] == "#")
            lines |= {line for line in again if line[0] != "#"}
    assert "scalebook run --all --campaign small-cluster --system mini-1gbit" in lines
    assert "scalebook run ddp_2gpu --system magic-castle" in lines  # was only reported
    assert any(line.startswith("for seed in 0 1 2; do scalebook run baseline") for line in lines)
    for line in lines:
        assert subprocess.run(["sh", "-n", "-c", line]).returncode == 0
        for words in commands(line):
            done = CliRunner().invoke(
                main, [*words[1:], *(["--dry-run"] if "--all" in words else ["--help"])]
            )
            assert done.exit_code == 0, f"{line}: {done.output}"
            if "--all" not in words:
                given = dict(zip(words[3::2], words[4::2]))
                pairs = [two for one, two in zip(words, words[1:]) if one == "--set"]
                done = CliRunner().invoke(
                    main, ["resolve", words[2], "--system", given["--system"],
                           *(word for pair in pairs for word in ("--set", pair))],
                )  # fmt: skip
                assert done.exit_code == 0, f"{line}: {done.output}"


def test_a_figure_is_drawn_alone_where_it_can_be_else_with_its_notebook(whole):
    drawn = repeat.draw_again("link_efficiency", "book/index")
    assert drawn == "scalebook figures link_efficiency --out _build/figures"
    program, *words = shlex.split(repeat.draw_again("timeline", "notebooks/05_profile"))
    assert program == "jupytext" and (REPOSITORY / words[-1]).is_file()
    assert PurePosixPath(words[-2]).parts[0] == "_build"  # which git ignores
    with pytest.raises(UsageError, match="'timeline': shows one run or trace"):
        figures.build("timeline")


@pytest.mark.browser
def test_the_line_that_draws_a_figure_again_draws_it(whole, tmp_path, monkeypatch):
    line = repeat.draw_again("grouping_difference", "notebooks/05_profile")
    monkeypatch.setattr("scalebook.contract.find_root", lambda *_: REPOSITORY)
    done = CliRunner().invoke(main, [*shlex.split(line)[1:-1], str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.glob("grouping*")) == [
        "grouping_difference.png",
        "grouping_difference.svg",
    ]
    done = CliRunner().invoke(main, ["figures", "grouping_difference"])
    assert done.exit_code != 0 and "name a folder with --out" in str(done.output or done.exception)
