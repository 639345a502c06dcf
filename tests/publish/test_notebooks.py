"""Which notebooks are executed again: those whose content or answers changed, no others."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook.contract import ScalebookError
from scalebook.publish.notebooks import dependencies, execute, update

NOTEBOOK = """\
# %% [markdown]
# # Tiny

# %% tags=["parameters"]
job = "2644"

# %%
from scalebook import results

found = results.reported()
print(found[found.job_id == job].value.tolist())
"""

FAILING = """\
# %% [markdown]
# # Broken

# %%
print("fine")

# %%
raise KeyError("first line\\nsecond line")
"""


def make(root: Path) -> None:
    for name in ("data/systems", "data/reported"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "study.yaml", root)
    (root / "notebooks").mkdir()
    (root / "notebooks" / "tiny.py").write_text(NOTEBOOK)


def loaded(root: Path, *names: str) -> list[update.Notebook]:
    return update.load(root, root / "_build", list(names or ["tiny"]))


def stale(root: Path) -> str | None:
    return update.why_stale(loaded(root)[0])


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> Path:
    """A study with one notebook, executed once."""
    root = tmp_path_factory.mktemp("executed")
    make(root)
    (outcome,) = update.execute_stale(loaded(root), root, lambda _: None)
    assert outcome.state == "executed", outcome.message
    return root


@pytest.fixture
def root(executed, tmp_path, monkeypatch) -> Path:
    """A copy of it, to change."""
    copy = tmp_path / "study"
    shutil.copytree(executed, copy)
    monkeypatch.setenv("SCALEBOOK_ROOT", str(copy))
    return copy


@pytest.mark.slow
def test_an_executed_notebook_is_current_and_free_of_time_and_place(root, executed):
    assert stale(root) is None
    text = loaded(root)[0].output.read_text()
    assert "77.42" in text
    assert str(executed) not in text and "start_time" not in text and "shell.execute" not in text


def test_touching_files_executes_nothing(root):
    for path in [*root.rglob("*")]:
        os.utime(path, (1, 1))
    assert stale(root) is None


@pytest.mark.parametrize("name", ["tiny.ipynb", "tiny.json"])
def test_without_its_executed_form_it_is_stale(root, name):
    (root / "_build" / "scalebook" / "notebooks" / name).unlink()
    assert stale(root) == "never executed"


def test_a_damaged_executed_form_is_stale(root):
    with open(loaded(root)[0].output, "a") as file:
        file.write(" ")
    assert stale(root) == "its executed file was changed"


def test_another_source_is_stale(root):
    (root / "notebooks" / "tiny.py").write_text(NOTEBOOK + "# more\n")
    assert stale(root) == "its source changed"


def test_another_parameter_is_stale(root):
    with open(root / "study.yaml", "a") as file:
        file.write('notebooks:\n  tiny: {job: "2649"}\n')
    assert stale(root) == "its parameters changed"


def test_another_answer_is_stale_and_an_equal_one_is_not(root):
    path = root / "data" / "reported" / "magic-castle-2025.yaml"
    text = path.read_text()
    path.write_text("# a comment more\n" + text)
    assert stale(root) is None
    path.write_text(text.replace("value: 77.42", "value: 77.5"))
    assert stale(root) == "the answer of reported() changed"


def test_another_module_is_stale(root, monkeypatch):
    real = dependencies.module_hashes

    def edited(source):
        return {**real(source), "scalebook.results.catalogue": "0" * 64}

    monkeypatch.setattr(dependencies, "module_hashes", edited)
    assert stale(root) == "scalebook.results.catalogue changed"


def test_another_library_is_stale(root):
    record = loaded(root)[0].record
    content = json.loads(record.read_text())
    content["versions"]["plotly"] = "0.0.0"
    record.write_text(json.dumps(content))
    assert stale(root) == "Python or a library changed"


@pytest.mark.slow
def test_one_failing_notebook_leaves_the_others_and_its_last_good_form(root):
    source = root / "notebooks" / "broken.py"
    source.write_text("# %%\n1 + 1\n")
    assert update.execute_stale(loaded(root, "broken"), root, lambda _: None)[0].state == "executed"
    good = loaded(root, "broken")[0].output.read_bytes()
    source.write_text(FAILING)
    (root / "notebooks" / "tiny.py").write_text(NOTEBOOK + "job\n")

    told = []
    broken, tiny = update.execute_stale(loaded(root, "broken", "tiny"), root, told.append)

    assert (broken.state, tiny.state) == ("failed", "executed") and len(told) == 2
    assert broken.message.startswith("notebooks/broken.py: code cell 2: KeyError: ")
    assert "\n" not in broken.message
    assert broken.notebook.output.read_bytes() == good
    assert "second line" in broken.notebook.failed_output.read_text()
    assert stale(root) is None


@pytest.mark.slow
def test_a_cell_that_takes_too_long_is_named(root):
    (root / "notebooks" / "slow.py").write_text("# %%\n1\n\n# %%\nimport time; time.sleep(6000)\n")
    (outcome,) = update.execute_stale(loaded(root, "slow"), root, lambda _: None, timeout=10)
    assert outcome.message == "notebooks/slow.py: code cell 2: took longer than 10 s"


@pytest.mark.slow
def test_a_kernel_that_dies_is_named(root):
    (root / "notebooks" / "dies.py").write_text("# %%\n1\n\n# %%\nimport os; os._exit(3)\n")
    (outcome,) = update.execute_stale(loaded(root, "dies"), root, lambda _: None)
    assert outcome.message == "notebooks/dies.py: code cell 2: the kernel died"


@pytest.mark.parametrize(("started", "runs"), [(0, 2), (1, 1)])
def test_a_kernel_that_does_not_come_up_is_tried_again_before_any_cell_ran(
    root, tmp_path, monkeypatch, started, runs
):
    tried = []

    def never(*_):
        tried.append(1)
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr(execute, "_run", never)
    monkeypatch.setattr(execute, "_cells_started", lambda _: started)
    with pytest.raises(RuntimeError):
        execute.execute(root / "notebooks" / "tiny.py", tmp_path / "out.ipynb", {}, 1.0)
    assert len(tried) == runs


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["JUPYTER_PATH", "JUPYTER_DATA_DIR"])
def test_a_kernel_that_somebody_installed_is_not_taken(tmp_path, monkeypatch, variable):
    installed = tmp_path / "kernels/python3"
    installed.mkdir(parents=True)
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "Mine"}
    (installed / "kernel.json").write_text(json.dumps({**spec, "language": "python"}))
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    (tmp_path / "a.py").write_text("# %%\nimport sys\n\nprint(sys.executable)\n")
    assert execute.execute(tmp_path / "a.py", tmp_path / "a.ipynb", {}, PATIENCE_S) is None
    assert sys.executable in (tmp_path / "a.ipynb").read_text()


def test_the_book_never_lets_a_notebook_submit(root):
    (root / "notebooks" / "submits.py").write_text(
        "# %%\nfrom scalebook import launch, study\n"
        'launch.submit(study.resolve(study.load(), "quick", "local"))\n'
    )
    (outcome,) = update.execute_stale(loaded(root, "submits"), root, lambda _: None)
    assert outcome.state == "failed" and "never trains" in outcome.message


def test_parameters_must_exist(root):
    with open(root / "study.yaml", "a") as file:
        file.write("notebooks:\n  tiny: {jbo: 1}\n")
    with pytest.raises(ScalebookError, match=r"notebooks\.tiny\.jbo: no such parameter.*has job"):
        loaded(root)


# --------------------------------------------------------------------------- dependencies


@pytest.fixture
def package(tmp_path) -> Path:
    """A package of the name, with imports of every kind."""
    files = {
        "__init__.py": "",
        "a/__init__.py": "from . import near\n",
        "a/near.py": "def later():\n    from ..b import thing\n",
        "a/unused.py": "",
        "b.py": "import scalebook.c.deep as d\nthing = 1\n",
        "c/__init__.py": "",
        "c/deep.py": "from scalebook.a import near\n",
        "d.py": "syntax error here",
    }
    for name, text in files.items():
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "package"


def test_dependencies_follow_imports_in_functions_relative_and_round(package):
    found = dependencies.module_hashes("%matplotlib inline\nfrom scalebook import a\n", package)
    assert list(found) == [
        "scalebook", "scalebook.a", "scalebook.a.near", "scalebook.b", "scalebook.c",
        "scalebook.c.deep",
    ]  # fmt: skip


def test_dependencies_show_an_edit_and_survive_broken_code(package):
    source = "from scalebook import d, b"
    before = dependencies.module_hashes(source, package)
    assert "scalebook.d" in before
    (package / "c" / "deep.py").write_text("x = 1\n")
    after = dependencies.module_hashes(source, package)
    assert {name for name in after if after[name] != before.get(name)} == {"scalebook.c.deep"}


def test_data_beside_a_module_is_part_of_it(package):
    (package / "b.yaml").write_text("thing: 1\n")
    before = dependencies.module_hashes("from scalebook import b", package)
    assert "scalebook.b.yaml" in before
    (package / "b.yaml").write_text("thing: 2\n")
    after = dependencies.module_hashes("from scalebook import b", package)
    assert {name for name in after if after[name] != before[name]} == {"scalebook.b.yaml"}


def test_a_comment_or_another_layout_is_no_edit(package):
    before = dependencies.module_hashes("from scalebook import b", package)
    path = package / "b.py"
    path.write_text("# why\n" + path.read_text().replace("thing = 1", "thing = (\n    1\n)"))
    assert dependencies.module_hashes("from scalebook import b", package) == before


def test_standard_modules_and_plain_notebooks_rest_on_nothing(package):
    assert dependencies.module_hashes("import json, scalebookish\n", package) == {}
