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
_MISSING = re.compile(
    r"^Missing character: There is no (?P<char>\S+) .*in font \[?(?P<font>[^\]!:/.]+)"
)
_PAGE = re.compile(r"(?:^|[ )])\[(?P<page>\d+)(?=[\]\s<{]|$)")
_PICTURE = re.compile(r"^File: (?P<name>\S+) Graphic file")
#: Fonts of text and formulas; in text, another is tried for characters that they have not.
_OWN_FONTS = ("texgyre", "lmmono")
#: What to do about a character that no font has.
_OTHER_FONT = (
    "leave it out, or name an installed font that has it (`fc-list :charset={code}`) in "
    "_config.yml: sphinx: config: latex_elements: {{preamble: '\\sbotherfont{{NAME}}'}}"
)
_NO_FONT = "write it outside formulas and addresses, where other fonts are tried, or leave it out"
_TOO_LARGE = "the picture is larger than TeX can measure (5.7 m): scale it down"
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
            if float(found["by"]) <= OVERFULL_PT:
                continue
            if found["box"] == "v":
                page = _page(lines[:number])
                yield f"{page} overfull by {found['by']} pt: give what is there less height"
                continue
            near = _words(lines[number + 1]) if number + 1 < len(lines) else ""
            near = f", near {near!r}" if near else ""
            yield f"line overfull by {found['by']} pt{found['where']}{near}"
        elif found := _MISSING.match(line):
            char, font = found["char"], found["font"]
            remedy = _NO_FONT if font.startswith(_OWN_FONTS) else _OTHER_FONT
            yield f"no character {char} in {font}: {remedy.format(code=f'{ord(char[0]):x}')}"
        elif (found := _WARNING.match(line)) and not _IDLE.match(line):
            if any(word in found["what"] for word in _USEFUL) and "rerun" not in line.lower():
                yield found["what"].strip()
        elif line.startswith("! "):
            after = lines[number + 1 : number + 12]
            where = next((text for text in after if text.startswith("l.")), "")
            picture = "Dimension too large" in line and "includegraphics" in where
            yield f"error: {line[2:]} {where}".rstrip() + (f": {_TOO_LARGE}" if picture else "")


def _page(before: list[str]) -> str:
    """The page that TeX is at after these lines, with its last pictures."""
    pages = [
        (at, int(found["page"])) for at, line in enumerate(before) if (found := _PAGE.search(line))
    ]
    # Pictures are read before the page before theirs is finished.
    since = pages[-2][0] if len(pages) > 1 else 0
    pictures = [found["name"] for line in before[since:] if (found := _PICTURE.match(line))]
    few = ", ".join(list(dict.fromkeys(pictures))[-3:])
    return f"page {pages[-1][1] + 1 if pages else 1}{f' (with {few})' if few else ''}"


def _words(line: str) -> str:
    """Text of a line of a log without its font switches."""
    return " ".join(re.sub(r"\\\S+|\[\]", " ", line).split())[:60]
