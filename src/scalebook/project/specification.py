"""``docs/SYSTEM.md``: prose written by hand, with tables made from facts and manifests.

A table stands between two comments, so that GitHub and the book show the same file:

================================  ======================================================
opening comment                   the table holds
================================  ======================================================
``<!-- facts: NAME … -->``        facts of ``data/systems/NAME.yaml``, a column a machine
``<!-- sources: NAME … -->``      where those facts were read, and when
``<!-- runs: SYSTEM -->``         what the manifests of a system's committed runs recorded
================================  ======================================================

Each ends at ``<!-- end -->``. `refresh` writes the tables anew; a test compares them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scalebook import contract, results, study
from scalebook.contract import ScalebookError
from scalebook.study.document import beside, parse_yaml, parsed, read_text

FILE = Path("docs/SYSTEM.md")

_ROWS = beside(__file__)
#: Keys that are the machine's name, or shown by `sources`.
APART = ("name", "title", "source", "date", "sources", "unconfirmed")
NOT_REPORTED = "not reported"

_BLOCK = re.compile(
    r"(?P<open><!-- (?P<kind>facts|sources|runs): (?P<names>[\w -]+?) -->)\n"
    r".*?(?P<close><!-- end -->)",
    re.DOTALL,
)


def refreshed(text: str, root: Path) -> str:
    """The text with every table between its comments made anew.

    Raises
    ------
    ScalebookError
        If there are no facts about a machine that a comment names.
    """
    makers = {"facts": _facts, "sources": _sources, "runs": _runs}

    def block(match: re.Match[str]) -> str:
        names = match["names"].split()
        table = "\n".join(makers[match["kind"]](root, names))
        return f"{match['open']}\n\n{table}\n\n{match['close']}"

    return _BLOCK.sub(block, text)


def refresh(root: Path) -> bool:
    """Write the tables of `FILE` anew; whether that changed it.

    Raises
    ------
    ScalebookError
        If the file cannot be read, or facts are missing.
    """
    path = root / FILE
    before = read_text(root, FILE.as_posix())
    after = refreshed(before, root)
    if after != before:
        contract.write_whole(path, after)
    return after != before


def _read(root: Path, name: str) -> dict[str, Any]:
    """Checked facts about a machine as flat keys: ``gpu.memory_gb``."""
    relative = f"data/systems/{name}.yaml"
    if not (root / relative).is_file():
        raise ScalebookError(f"{FILE}: no facts about {name!r}; describe it in {relative}")
    text = read_text(root, relative)
    parsed(study.Facts, text, relative)
    return dict(_leaves(parse_yaml(text, relative)))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _facts(root: Path, names: list[str]) -> Iterator[str]:
    machines = [_read(root, name) for name in names]
    rows: dict[str, str] = _ROWS["rows"]
    known = set(rows.values())
    # What a file tells beyond the usual is shown too, after it.
    others = dict.fromkeys(
        key
        for facts in machines
        for key in facts
        if key not in known and key.split(".")[0] not in APART
    )
    yield from _header(["Fact", *(f"`{name}`" for name in names)])
    for heading, key in (*rows.items(), *((_words(key), key) for key in others)):
        cells = [_cell(facts.get(key)) for facts in machines]
        alone = len(names) == 1 and key in _ROWS["expected"]
        if any(cells) or alone:
            yield _row([heading, *(cell or (NOT_REPORTED if alone else "–") for cell in cells)])


def _sources(root: Path, names: list[str]) -> Iterator[str]:
    yield from _header(["Machine", "Source", "Read", "Not confirmed"])
    for name in names:
        facts = _read(root, name)
        said = [_cell(facts.get(key)) or "–" for key in ("source", "date", "unconfirmed")]
        yield _row([f"`{name}`", *said])


def _runs(root: Path, names: list[str]) -> Iterator[str]:
    """Processor, memory and versions, each with every value that a run recorded."""
    found: dict[str, dict[str, None]] = {}
    runs = results.runs(kind="measured", evidence=True)
    stems = runs[runs["system"].isin(names)]["stem"].tolist()
    for stem in sorted(stems):
        for heading, value in _recorded(results.manifest(stem)):
            found.setdefault(heading, {}).setdefault(_cell(value))
    yield from _header(["Recorded", ", ".join(f"`{name}`" for name in names)])
    for heading, values in found.items():
        yield _row([heading, ", ".join(filter(None, values)) or "none"])


def _recorded(manifest: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for node in manifest.get("nodes") or []:
        yield "Processor", node.get("cpu")
        yield "Processor cores", node.get("cores")
        yield "Memory, GB", node.get("memory_gb")
    yield "Threads of a rank", manifest.get("threads_per_rank")
    versions = manifest.get("versions") or {}
    for heading in ("Python", "PyTorch", "torchvision", "NumPy"):
        key = {"PyTorch": "torch"}.get(heading, heading.lower())
        yield heading, str(versions.get(key) or "").partition("+")[0]
    yield "Communication between ranks", manifest.get("backend")
    yield "GPU driver", manifest.get("driver")


def _header(cells: list[str]) -> Iterator[str]:
    yield _row(cells)
    yield f"|{':---|' * len(cells)}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _words(key: str) -> str:
    words = key.replace(".", ", ").replace("_", " ")
    return words[:1].upper() + words[1:]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    return " ".join(str(value).split())
