"""What typesetting needs from the machine, and what TeX complains about."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

#: Programs; `make` runs TeX for Jupyter Book.
COMMANDS = ("xelatex", "latexmk", "rsvg-convert", "make")
#: Packages of Debian and Ubuntu that bring them, and the fonts; ``env/apt.sh tex`` installs these.
PACKAGES = (
    "texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended texlive-xetex "
    "latexmk fonts-texgyre fonts-texgyre-math lmodern fonts-freefont-otf fonts-dejavu-core "
    "librsvg2-bin poppler-utils make"
)

#: Lines may stick out this far, in points.
OVERFULL_PT = 1.0

_OVERFULL = re.compile(r"^Overfull \\(?P<box>[hv])box \((?P<by>[\d.]+)pt too \w+\)(?P<where>.*)")
_MISSING = re.compile(r"^Missing character: There is no (?P<char>\S+).* in font (?P<font>[^!]+)!")
_WARNING = re.compile(r"^(LaTeX|Package \w+|Class \w+) Warning: (?P<what>.*)")
#: Warnings of packages that nobody can do anything about.
_IDLE = re.compile(
    "Package (hyperref|fancyhdr|caption|fontspec|unicode-math|polyglossia|xcolor) Warning"
)
_USEFUL = ("undefined", "multiply defined", "too large", "Float", "Reference", "Citation", "Label")


def missing() -> list[str]:
    """Programs that are not there."""
    return [name for name in COMMANDS if shutil.which(name) is None]


def install_line() -> str:
    """Command that installs all of it."""
    return f"sudo apt-get install --no-install-recommends {PACKAGES}"


def complaints(log: Path) -> list[str]:
    """Complaints in a log, each once: what sticks out, characters and targets not there."""
    if not log.is_file():
        return [f"{log.stem}: no log"]
    text = log.read_text(encoding="utf-8", errors="replace")
    return list(dict.fromkeys(f"{log.stem}: {line}" for line in _lines(text.splitlines())))


def _lines(lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if found := _OVERFULL.match(line):
            if float(found["by"]) > OVERFULL_PT:
                kind = "line" if found["box"] == "h" else "page"
                near = _words(lines[number + 1]) if number + 1 < len(lines) else ""
                near = f", near {near!r}" if near and found["box"] == "h" else ""
                yield f"{kind} overfull by {found['by']} pt{found['where']}{near}"
        elif found := _MISSING.match(line):
            yield f"no character {found['char']} in {found['font'].split(':')[0].strip()}"
        elif (found := _WARNING.match(line)) and not _IDLE.match(line):
            if any(word in found["what"] for word in _USEFUL) and "rerun" not in line.lower():
                yield found["what"].strip()
        elif line.startswith("! "):
            after = lines[number + 1 : number + 12]
            where = next((one for one in after if one.startswith("l.")), "")
            yield f"error: {line[2:]} {where}".rstrip()


def _words(line: str) -> str:
    """Text of a line of a log without its font switches."""
    return " ".join(re.sub(r"\\\S+|\[\]", " ", line).split())[:60]
