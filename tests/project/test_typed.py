"""Numbers typed by hand are found wherever they stand, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import REPOSITORY

from scalebook.contract import ScalebookError
from scalebook.project.typed import typed_numbers

CLEAN = """\
---
date: 2026-01-31
---
# Title

%% 17 in a comment <!-- 18 -->
(label-19)=
Text with {value}`a.b|.1f|unit`, {cite:p}`li2020ddp`, `code 42`, [a link](page9.md), M1, FP16 and
A100, https://example.org/77 and $\\val{a.b|.2f} + x_{12} + 10$.

1. First
2. Second

```{study-table} runs.7
:name: tab-8
A caption without numbers.
```

```sh
sleep 99
```

:::{grid} 1 2 2 4
:gutter: 2
Words in a grid.
:::
"""


def page(root: Path, text: str, name: str = "paper") -> list[tuple[int, str]]:
    (root / "book").mkdir(exist_ok=True)
    (root / "book" / f"{name}.md").write_text(text)
    return [(one.line, one.text) for one in typed_numbers(root)]


def allow(root: Path, text: str) -> None:
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / "typed_allowed.yaml").write_text(text)


def test_the_documents_hold_no_typed_number():
    found = typed_numbers(REPOSITORY)
    assert not found, "\n".join(map(str, found))


def test_roles_code_labels_options_and_names_are_no_numbers(tmp_path):
    allow(tmp_path, "maths: [{text: '10', reason: base of the power}]\n")
    assert page(tmp_path, CLEAN) == []


@pytest.mark.parametrize(
    ("text", "line", "number"),
    [
        ("# Title\n\nIt reached 715 images/s.\n", 3, "715"),
        ("Efficiency fell to 25.2 %.\n", 1, "25.2"),
        ("A loss of −3 points.\n", 1, "−3"),
        ("| a | b |\n|---|---|\n| rate | 4,460 |\n", 3, "4,460"),
        ("```{study-table} runs\n:name: t\nA caption of 12 runs.\n```\n", 3, "12"),
        ("```{study-figure} f\nTwo nodes keep 25 %.\n```\n", 2, "25"),
        (":::{admonition} The best of 3 runs\nWords.\n:::\n", 1, "3"),
        (":::{list-table} Title\n:header-rows: 1\n\n* - a\n  - 17 s\n:::\n", 5, "17"),
        ("So $S = 1.26$ at best.\n", 1, "1.26"),
        ("$$\nS_2 = \\frac{715}{568}\n$$\n", 2, "715"),
        ("\\begin{align}\nT &= 358\\,\\text{ms}\n\\end{align}\n", 2, "358"),
        ("```{math}\nT = 358\n```\n", 2, "358"),
        ("{value}`a.b` and 7 more, see [here](x1.md).\n", 1, "7"),
        ("Some text\nwith `code 1` and {value}`k`\nand 33 runs.\n", 3, "33"),
    ],
)
def test_planted_numbers_are_found_with_their_line(tmp_path, text, line, number):
    found = page(tmp_path, text)
    assert [one[0] for one in found][:1] == [line]
    assert number in found[0][1]


def test_sentences_are_read_as_they_are_put_together(tmp_path):
    folder = tmp_path / "book"
    folder.mkdir(parents=True)
    (folder / "sentences.py").write_text(
        '"""Documentation of 5 things."""\n\n'
        "def one(known):\n"
        '    """Another 6."""\n'
        "    return f\"rate {{value}}`{known['a 1']}|.1f` holds\"\n\n\n"
        "def two(known):\n"
        "    key = value('x.2649.y', '.2f')\n"
        '    return f"at {key} it is 44 % of all"\n'
    )
    (finding,) = typed_numbers(tmp_path)
    assert (finding.file, finding.line) == ("book/sentences.py", 10)
    assert "44" in finding.text


def test_what_is_allowed_is_named_with_a_reason(tmp_path):
    allow(tmp_path, "prose: [{text: TRL 5, reason: a level}]\n")
    assert page(tmp_path, "At TRL 5, or at TRL\n5.\n") == []
    for text in ("TRL 5.5 here\n", "TRL 55\n", "TRL 5 %\n", "5\n"):
        assert [line for line, _ in page(tmp_path, text)] == [1], text


@pytest.mark.parametrize(
    "text",
    [
        "prose: [{text: x}]",
        "prose: [{text: x, pattern: y, reason: both}]",
        "prose: [{reason: neither}]",
        "prose: [{pattern: '(', reason: broken}]",
        "prose: [{pattern: '.*', reason: takes everything}]",
        "other: []",
    ],
)
def test_a_wrong_list_is_one_line(tmp_path, text):
    allow(tmp_path, text)
    with pytest.raises(ScalebookError, match="data/typed_allowed.yaml") as caught:
        page(tmp_path, "Text\n")
    assert "\n" not in str(caught.value)
