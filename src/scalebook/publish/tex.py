"""What typesetting needs from the machine, and the line that installs it."""

from __future__ import annotations

import shutil

#: Programs; `make` runs TeX for Jupyter Book.
COMMANDS = ("xelatex", "latexmk", "rsvg-convert", "make")
#: Packages of Debian and Ubuntu that bring them, and the fonts; ``env/apt.sh tex`` installs these.
PACKAGES = (
    "texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended texlive-xetex "
    "latexmk fonts-texgyre fonts-texgyre-math lmodern fonts-freefont-otf fonts-dejavu-core "
    "librsvg2-bin poppler-utils make"
)


def missing() -> list[str]:
    """Programs that are not there."""
    return [name for name in COMMANDS if shutil.which(name) is None]


def install_line() -> str:
    """Command that installs all of it."""
    return f"sudo apt-get install --no-install-recommends {PACKAGES}"
