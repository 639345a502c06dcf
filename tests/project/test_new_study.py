"""`scalebook new`: a study of one's own that runs and builds its book at once."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook import contract, study
from scalebook.cli.command import main
from scalebook.contract import ScalebookError, UsageError
from scalebook.project import new_study
from scalebook.publish import sentences
from scalebook.values import Value
from scalebook.values.sentences import load

#: Words of the study that Scalebook ships.
OTHERS = re.compile(r"(?i)cifar.10|magic.castle|ddp_2gpu|ddp_baseline|\b26(44|49|50)\b")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("SCALEBOOK_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def test_it_is_a_study_of_its_own(tmp_path):
    said = CliRunner().invoke(main, ["new", "Zwei Blüten", "--title", 'Blüten: "klein" & {groß}'])
    root = tmp_path / "Zwei Blüten"
    assert said.exit_code == 0 and said.output.strip() == str(root)
    loaded = study.load(root)
    assert loaded.name == "zwei-bluten" and loaded.title == 'Blüten: "klein" & {groß}'
    config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    assert config["title"] == loaded.title and "Scalebook" not in str(config["author"])
    toc = (root / "_toc.yml").read_text("utf-8")
    for page in re.findall(r"(?:file|root): (\S+)", toc):
        assert any((root / f"{page}{end}").is_file() for end in (".md", ".py")), page
    for path in root.rglob("*"):
        if path.is_file() and path.name != ".gitignore":
            found = OTHERS.search(path.read_text("utf-8"))
            assert not found, f"{path.relative_to(root)}: {found}"
    for experiment in loaded.experiments:
        study.resolve(loaded, experiment, "local", None, {})
    assert os.access(root / "slurm/torch_env.sh", os.X_OK)
    assert not (root / "slurm/site.sh").exists()


def test_a_title_is_text_on_its_pages(tmp_path):
    title = "<script>a</script> {value}`x` $y$ *z*"
    root = new_study.create(tmp_path / "lab", title)
    for page in ("index", "paper"):
        heading = (root / f"book/{page}.md").read_text("utf-8").partition("\n# ")[2].split("\n")[0]
        assert re.sub(r"\\(.)", r"\1", heading) == title
        assert not re.search(r"(?<!\\)[<{`$*]", heading)


def test_its_sentence_follows_the_data(tmp_path):
    sentence = load(new_study.create(tmp_path / "lab")).SENTENCES["second-rank"]
    assert sentence({}).case == "not run"
    for low, high, case in ((1.2, 1.4, "pays"), (0.6, 0.8, "costs"), (0.9, 1.2, "open")):
        ends = {"low": low, "median": (low + high) / 2, "high": high}
        known = {
            f"two.local.speedup.{end}": Value(f"two.local.speedup.{end}", one, "", "measured", "")
            for end, one in ends.items()
        }
        assert sentence(known).case == case


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("def", "SyntaxError"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("X = 1", "has no SENTENCES"),
        ("SENTENCES = {'a': lambda known: str(1 / 0)}", "text 'a' fails: ZeroDivisionError"),
        ("SENTENCES = {'a': lambda known: known['x.y'].text}", "asks for the number 'x.y'"),
        ("SENTENCES = {'b': str}", "no text 'a'; there are b"),
    ],
)
def test_a_sentence_that_cannot_be_made_is_one_line(study_root, written, told):
    (study_root / "book").mkdir()
    (study_root / "book/sentences.py").write_text(written, encoding="utf-8")
    sentences.text.cache_clear()
    with pytest.raises(ScalebookError) as caught:
        sentences.text("a")
    assert told in str(caught.value) and "\n" not in str(caught.value)
    sentences.text.cache_clear()


def test_what_it_says_of_reported_numbers_and_machines_is_right(tmp_path, monkeypatch):
    root = new_study.create(tmp_path / "lab")
    monkeypatch.chdir(root)
    for example in root.glob("data/*/example.yaml.txt"):
        example.rename(example.with_suffix(""))
    (root / "data/systems/example.yaml").rename(root / "data/systems/my-cluster.yaml")
    said = CliRunner().invoke(main, ["claims", "--json"])
    assert said.exit_code == 0 and "holds" in said.output and "contradict" not in said.output
    assert "the size of the images is not known" in said.output
    assert study.load(root).facts("my-cluster").link_gbit_s == 10
    listed = CliRunner().invoke(main, ["values", "reported.17"])
    assert re.search(r"reported\.17\.throughput +900 images/s +reported", listed.output)
    assert "no key holds 'zzz'" in CliRunner().invoke(main, ["values", "zzz"]).output


@pytest.mark.parametrize("kind", ["full", "file", "nameless"])
def test_it_refuses_in_one_line_and_leaves_all_as_it_was(tmp_path, kind):
    folder = tmp_path / ("日本" if kind == "nameless" else "there")
    if kind == "full":
        folder.mkdir()
        (folder / ".hidden").write_text("mine")
    elif kind == "file":
        folder.write_text("mine")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    said = CliRunner().invoke(main, ["new", str(folder)])
    assert said.exit_code == 2 and said.output.count("\n") == 1, said.output
    assert said.output.startswith("scalebook: new: ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()

    def full(path, text):
        if path.name == "_config.yml":
            raise OSError(28, "No space left on device")
        write(path, text)

    write = new_study._write
    monkeypatch.setattr(new_study, "_write", full)
    with pytest.raises(ScalebookError, match="cannot be written .No space left"):
        new_study.create(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"] and not any(folder.iterdir())
    monkeypatch.setattr(new_study, "_write", write)
    assert contract.find_root(new_study.create(folder)) == folder
    with pytest.raises(UsageError, match="not empty"):
        new_study.create(folder)


@pytest.mark.slow
def test_a_page_that_is_not_there_is_one_line_before_any_notebook(tmp_path):
    root = new_study.create(tmp_path / "mine")
    (root / "book/paper.md").unlink()
    done = _scalebook(root, "book")
    assert done.returncode == 1 and "executed" not in done.stdout
    line = "_toc.yml: book/paper: no book/paper.md there: write it, or take the line out"
    assert line in done.stderr


@pytest.mark.slow
def test_it_runs_and_builds_at_once(tmp_path):
    root = new_study.create(tmp_path / "mine & yours", title="Mine")
    few = [f"--set={name}" for name in ("train_images=128", "val_images=32", "epochs=1",
                                        "threads_per_rank=1", "untimed_steps=9")]  # fmt: skip
    done = _scalebook(root, "run", "quick", *few)
    assert done.returncode == 0, done.stderr
    # Four steps, and nine are left out: what the stranger must be told.
    assert "note: no step was timed" in done.stderr and "untimed_steps lower" in done.stderr
    built = _scalebook(root, "book", "--run", "auto")
    assert built.returncode == 0, built.stdout + built.stderr
    assert "quick_" in built.stderr + built.stdout
    page = (root / "_build/html/notebooks/05_profile.html").read_text("utf-8")
    assert "scalebook run profile" in page
    page = (root / "_build/html/book/index.html").read_text("utf-8")
    assert "scalebook run one" in page and "ResNet" not in page and "{value}" not in page
    figures = _scalebook(REPOSITORY, "check", root=root)
    assert "gantt" not in figures.stdout


def _scalebook(cwd, *arguments, root=None):
    return subprocess.run(
        [sys.executable, "-m", "scalebook.cli", *arguments],
        cwd=cwd,
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
        env={**os.environ, **({"SCALEBOOK_ROOT": str(root)} if root else {})},
    )
