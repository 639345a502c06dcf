"""``docs/SYSTEM.md`` says what the facts and manifests say, and what was not reported."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from paths import REPOSITORY

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.project import specification

PAGE = REPOSITORY / specification.FILE


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of its own with the facts of this one, and no runs."""
    shutil.copytree(REPOSITORY / "data/systems", tmp_path / "data/systems")
    shutil.copy(REPOSITORY / "study.yaml", tmp_path)
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    return tmp_path


def facts(root: Path, *names: str) -> str:
    """Table of facts about machines."""
    return specification.refreshed(f"<!-- facts: {' '.join(names)} -->\n<!-- end -->", root)


def test_the_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    page = PAGE.read_text(encoding="utf-8")
    assert specification.refreshed(page, REPOSITORY) == page, (
        f"{specification.FILE} is stale: run scalebook specification"
    )


def test_every_machine_is_described() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for path in (REPOSITORY / "data/systems").glob("*.yaml"):
        named = re.search(rf"<!-- facts: [\w -]*\b{path.stem}\b", page)
        assert named, f"{path.name} is not described in {specification.FILE}"


def test_a_changed_fact_changes_its_row_alone(machines: Path) -> None:
    before = facts(machines, "magic-castle").splitlines()
    path = machines / "data/systems/magic-castle.yaml"
    path.write_text(path.read_text().replace("network: Ethernet", "network: Token Ring"))
    after = facts(machines, "magic-castle").splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [("| Network | Ethernet |", "| Network | Token Ring |")]


def test_what_nobody_wrote_down_is_marked(machines: Path) -> None:
    table = facts(machines, "magic-castle")
    assert "| Rate of a node's link, Gbit/s | not reported |" in table
    assert "| GPU | NVIDIA Tesla T4 |" in table


def test_a_further_fact_is_shown(machines: Path) -> None:
    path = machines / "data/systems/magic-castle.yaml"
    path.write_text(path.read_text() + 'cooling: "air | water"\n')
    assert r"| Cooling | air \| water |" in facts(machines, "magic-castle")


def test_prose_is_left_alone_and_writing_twice_changes_nothing(machines: Path) -> None:
    page = machines / specification.FILE
    contract.write_whole(page, "Mine.\n\n<!-- facts: mini-1gbit -->\n<!-- end -->\n\nYours.\n")
    assert specification.refresh(machines)
    text = page.read_text()
    assert text.startswith("Mine.\n\n<!--") and text.endswith("<!-- end -->\n\nYours.\n")
    assert not specification.refresh(machines)


def test_an_unknown_machine_is_one_line(machines: Path) -> None:
    with pytest.raises(ScalebookError, match=r"describe it in data/systems/nowhere\.yaml"):
        facts(machines, "nowhere")


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\((\.\./[^)#]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).exists(), target
