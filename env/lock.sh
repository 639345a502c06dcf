#!/bin/sh
# Make requirements.txt of the extras in pyproject.toml, and resolve it anew into requirements.lock
# as PyPI serves it: with what its build of torch for GPUs brings, and without local versions such
# as +cpu, which no other index has.
#   env/lock.sh --list    only print what requirements.txt has to be
set -eu
cd "$(dirname "$0")/.."

list() {
  echo '# Made from pyproject.toml by `make lock`: change it there.'
  echo '# requirements.lock beside this file pins everything these bring.'
  sed -n '/^\[project\.optional-dependencies\]/,/^$/{
    s/^\([a-z]*\) = \[$/# \1/p
    s/^    "\(.*\)",/\1  /p
  }' pyproject.toml
}
[ "${1:-}" != --list ] || { list; exit 0; }
list > requirements.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip --isolated --quiet --disable-pip-version-check "$@"; }
pip install --upgrade pip  # one that reads metadata without the wheels
pip install --dry-run --ignore-installed --report "$work/report.json" -r requirements.txt
{ sed -n '/^#/p' requirements.lock
  "$work/venv/bin/python" - "$work/report.json" <<'PY'
import json, sys
pins = [entry["metadata"] for entry in json.load(open(sys.argv[1]))["install"]]
for pin in sorted(pins, key=lambda pin: pin["name"].lower()):
    if pin["name"].lower() not in ("pip", "setuptools", "wheel"):
        print(f"{pin['name']}=={pin['version'].partition('+')[0]}")
PY
} > "$work/lock"
cat "$work/lock" > requirements.lock
