#!/bin/sh
# Make .venv as requirements.txt and requirements.lock say, or leave it be if it is so already.
#   PYTHON=python3.12   another interpreter
#   TORCH=system        build on the torch that is already there (a cluster's module)
set -eu
cd "$(dirname "$0")/.."
torch=${TORCH:-pinned}

fail() { echo "setup: $*" >&2; exit 1; }

# The first interpreter that is new enough for the pinned packages.
python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  if command -v "$candidate" >/dev/null 2>&1 &&
     "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate; break
  fi
done
[ -n "$python" ] || fail "needs Python 3.11 or newer; install it, or name it: make book PYTHON=/path/to/python3.11"

stamp=.venv/scalebook-setup
want=$({ cat requirements.txt requirements.lock pyproject.toml env/setup.sh; pwd
         "$python" -VV; echo "$torch"; } | cksum)
if [ -x .venv/bin/scalebook ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then exit 0; fi

options=""
if [ "$torch" = system ]; then
  # torchvision is looked for, not imported: beside a CPU-only torch it needs scalebook's mend.
  "$python" -c 'import torch, importlib.util as i, sys; sys.exit(i.find_spec("torchvision") is None)' 2>/dev/null ||
    fail "TORCH=system, but $python cannot import torch and torchvision; load the module that has them"
  options=--system-site-packages
fi
echo "setup: making .venv with $("$python" -V) (about a minute with a warm pip cache)"
rm -rf .venv
"$python" -m venv $options .venv >/dev/null 2>&1 || {
  rm -rf .venv
  fail "$python cannot make a virtual environment; on Debian or Ubuntu: sudo apt-get install python3-venv"
}
requirements=requirements.txt constraints=requirements.lock
if [ "$torch" = system ]; then
  # Whatever came with the machine's torch stays: only what stands beside it is pinned.
  requirements=.venv/requirements.txt constraints=.venv/constraints.txt
  kept='^(torch|torchvision|numpy|pillow|sympy|mpmath|networkx|filelock|fsspec|typing_extensions)=='
  grep -Ev '^(torch|torchvision|numpy)==' requirements.txt > "$requirements"
  grep -Eiv "$kept" requirements.lock > "$constraints"
fi
say() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
log=.venv/setup.log
{ say install -r "$requirements" -c "$constraints" && say install --no-deps -e . ; } > "$log" 2>&1 || {
  grep -E '^ERROR' "$log" | head -5 | grep . >&2 || tail -5 "$log" >&2
  fail "pip could not install; the whole story is in $log"
}
echo "$want" > "$stamp"
echo "setup: done"
