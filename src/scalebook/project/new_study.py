"""``scalebook new``: a folder in which a study of one's own runs and builds its book at once.

Notebooks, scripts for Slurm and the book's settings are those of the clone that Scalebook is
installed from; what a study has of its own comes from ``templates/study``.
"""

import json
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

import scalebook
from scalebook.contract import ScalebookError, UsageError
from scalebook.figures.notebook import as_markdown
from scalebook.study.document import NAME

TEMPLATE = Path(__file__).parent / "templates" / "study"
#: Of the clone, taken as they are. Job scripts that name an experiment are of its study.
SHARED = (
    ".gitignore",
    "book/provenance.md",
    "book/runs.md",
    "jupytext.toml",
    "notebooks/*.py",
    "slurm/*.sh",
    "slurm/train.sbatch",
    "slurm/scaling_ladder.sbatch",
    "slurm/test_*.sbatch",
)
#: What a site wrote for itself.
PRIVATE = {"site.sh"}


def create(folder: Path, title: str = "") -> Path:
    """Make a study in a new or empty folder: all of it, or nothing.

    Parameters
    ----------
    folder : Path
        The study's name is made from that of the folder.
    title : str, optional
        Of study and book; the folder's name where left out.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    UsageError
        If the folder holds something already, is no folder, or gives no name.
    ScalebookError
        If it cannot be written, or Scalebook is not installed from a clone.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"new: {folder} is no folder: name one that is new or empty")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"new: {folder} is not empty: name a folder that is new or empty")
    plain = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9_-]+", "-", plain.lower()).strip("-_")[:64]
    if not re.fullmatch(NAME, name):
        raise UsageError(f"new: {folder.name!r} gives no name for a study: use a letter a–z")
    title = " ".join((title or folder.name).split())
    clone = Path(scalebook.__file__).resolve().parents[2]
    if not (clone / "notebooks").is_dir() or not (clone / "_config.yml").is_file():
        raise ScalebookError(
            f"new: no notebooks beside {clone / 'src'}: start it in a clone, after: make setup"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".scalebook-new-", dir=folder.parent) as place:
            made = Path(place) / "study"
            _fill(made, clone, name, title)
            made.rename(folder)  # an empty folder is replaced
    except OSError as error:
        raise ScalebookError(f"new: {folder}: cannot be written ({error.strerror})") from None
    return folder


def _fill(made: Path, clone: Path, name: str, title: str) -> None:
    # Copied by content, so that a clone that nobody may write to gives files one may edit.
    for source in sorted(TEMPLATE.rglob("*")):
        if source.is_file():
            _write(made / source.relative_to(TEMPLATE), source.read_text(encoding="utf-8"))
    for pattern in SHARED:
        for source in sorted(clone.glob(pattern)):
            if source.name not in PRIVATE:
                target = made / source.relative_to(clone)
                _write(target, source.read_text(encoding="utf-8"))
                shutil.copymode(source, target)
                target.chmod(target.stat().st_mode | 0o200)
    # A JSON string is a YAML one, whatever stands in it.
    written = json.dumps(title, ensure_ascii=False)
    _replace(made / "study.yaml", ("{name}", name), ("{title}", written))
    for page in ("index", "paper"):
        _replace(made / "book" / f"{page}.md", ("{title}", as_markdown(title)))
    # The ladder's example and what it climbs where nothing is said.
    ladder = ("ddp_weak", "two"), ("ddp_2gpu", "two")
    _replace(made / "slurm" / "scaling_ladder.sbatch", *ladder)
    _write(made / "_config.yml", _settings(clone, written))


def _settings(clone: Path, title: str) -> str:
    """The clone's settings of the book, with the title of a new study."""
    text = (clone / "_config.yml").read_text(encoding="utf-8")
    for key, value in {"title": title, "author": '""', "copyright": '""'}.items():
        text, count = re.subn(rf"(?m)^{key}:.*$", lambda _: f"{key}: {value}", text)  # noqa: B023
        if count != 1:
            raise ScalebookError(f"new: {clone / '_config.yml'}: no line `{key}:`")
    return text


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _replace(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        text = text.replace(old, new)
    _write(path, text)
