#!/bin/sh
# All tests: style, types, then pytest on both cores. What a missing system package deselects is said.
set -eu
cd "$(dirname "$0")/.."

# CI passes with everything or not at all; elsewhere the tests that cannot run are left out.
env/apt.sh browser tex slurm fetch || [ -z "${CI:-}" ] || exit 1
marks="" out=""
without() { marks="${marks:+$marks and }not $1" out="$out${out:+, }$1"; }
for group in browser tex; do env/apt.sh --look $group || without $group; done
[ -d ../shared/data ] || without shared
# The small cluster needs root besides, and says so itself where the packages are there.
hub=""
if ! env/apt.sh --look slurm || ! .venv/bin/minislurm check > /dev/null; then
  [ -z "${CI:-}" ] || exit 1
  without slurm
  hub=no
fi
# A Hub on it is driven by the browser.
if [ -n "$hub" ] || ! env/apt.sh --look browser || ! env/hub.sh packages; then
  [ -z "${CI:-}" ] || exit 1
  without hub
fi
[ -z "$out" ] || echo "test: left out are the tests marked $out (pyproject.toml says what each needs)"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder ${marks:+-m "$marks"} "$@"
