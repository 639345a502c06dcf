#!/bin/sh
# Install what sets the PDFs, where root or sudo allows; otherwise say the line to run.
set -eu
cd "$(dirname "$0")/.."
for command in xelatex latexmk rsvg-convert pdfinfo make; do
  env/apt.sh "$command" \
    texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended texlive-xetex \
    latexmk fonts-texgyre fonts-texgyre-math lmodern fonts-freefont-otf fonts-dejavu-core \
    librsvg2-bin poppler-utils make
done
