#!/bin/sh
# All tests: style, then pytest on both cores. What a missing system package deselects is said.
set -eu
cd "$(dirname "$0")/.."
marks=""
without() { marks="${marks:+$marks and }not $1"; }

browser=""
for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
  if command -v "$name" >/dev/null 2>&1; then browser=$name; break; fi
done
if [ -z "$browser" ] && ! env/apt.sh chromium chromium; then
  [ -z "${CI:-}" ] || exit 1
  echo "test: the tests marked browser are left out"
  without browser
fi
if ! env/tex.sh; then
  [ -z "${CI:-}" ] || exit 1
  echo "test: the tests marked tex are left out"
  without tex
fi
if [ ! -d ../shared/data ]; then
  echo "test: ../shared/data is not here; the tests marked shared are left out"
  without shared
fi
# The small cluster: Slurm, its database and the tools for networks; and root.
for command in slurmctld slurmdbd mariadbd munged ip; do
  PATH="$PATH:/usr/sbin:/sbin" env/apt.sh "$command" \
    slurm-wlm slurmdbd mariadb-server munge iproute2 || break
done
if ! .venv/bin/python -m scalebook.minislurm check > /dev/null; then
  [ -z "${CI:-}" ] || exit 1
  echo "test: the tests marked slurm are left out"
  without slurm
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
exec .venv/bin/python -m pytest -n 2 --dist loadfile ${marks:+-m "$marks"} "$@"
