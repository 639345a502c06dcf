#!/bin/sh
# Resolve requirements.txt anew into requirements.lock, as PyPI serves it: with what its build of
# torch for GPUs brings, and without local versions such as +cpu, which no other index has.
set -eu
cd "$(dirname "$0")/.."
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
