#!/bin/sh
# Make .venv as pyproject.toml and requirements.lock say, or leave it be if it is so already.
#   PYTHON=python3.12   another interpreter
#   TORCH=system        build on the torch that is already there (a cluster's module)
# Without them, a .venv that is there keeps its interpreter and its torch.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 1; }

# What .venv was made as, from the last time: checksum, interpreter, torch.
stamp=.venv/scalebook-setup
made=$(sed -n 1p "$stamp" 2>/dev/null) || :
made_python=$(sed -n 2p "$stamp" 2>/dev/null) || :
made_torch=$(sed -n 3p "$stamp" 2>/dev/null) || :
torch=${TORCH:-${made_torch:-pinned}}
case $torch in pinned|system) ;; *) fail "TORCH=$torch: say TORCH=system or TORCH=pinned" ;; esac

# The first interpreter that is new enough for the pinned packages; where .venv itself is active,
# the one it was made with.
if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"
else set -- "${made_python:-python3}" python3 python3.13 python3.12 python3.11; fi
python="" seen=""
for candidate; do
  command -v "$candidate" >/dev/null 2>&1 || { seen=${seen:-" (there is no $candidate)"}; continue; }
  python=$("$candidate" -c 'import os, sys
if sys.version_info < (3, 11): sys.exit(1)
own = os.path.realpath(sys.prefix) == os.path.realpath(".venv")
print(sys._base_executable if own else sys.executable)' 2>/dev/null) && break
  seen=${seen:-" ($candidate is $("$candidate" -V 2>&1 | tail -1))"}
done
[ -n "$python" ] ||
  fail "needs Python 3.11 or newer$seen; install it, or name it: make book PYTHON=/path/to/python3.11"

# One set-up at a time. The lock ends with this process, however that ends.
if ! { mkdir -p .scalebook && : >> .scalebook/setup.lock; } 2>/dev/null; then
  fail "cannot write to $(pwd): clone the project into a folder of your own"
fi
exec 9>> .scalebook/setup.lock
"$python" - <<'PY' || :
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("setup: another one is at work in this folder; waiting for it", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
    pass  # a file system without locks: go on as if alone
PY

want=$({ cat requirements.lock pyproject.toml packages/*/pyproject.toml env/setup.sh; pwd
         "$python" -VV; echo "$python"; echo "$torch"; } | cksum)
made=$(sed -n 1p "$stamp" 2>/dev/null) || :
if [ -x .venv/bin/scalebook ] && [ "$made" = "$want" ]; then exit 0; fi

options=""
if [ "$torch" = system ]; then
  # torchvision is looked for, not imported: beside a CPU-only torch it needs scalebook's mend.
  "$python" -c 'import torch, importlib.util as i, sys; sys.exit(i.find_spec("torchvision") is None)' 2>/dev/null ||
    fail "TORCH=system, but $python cannot import torch and torchvision; load the module that has them"
  options=--system-site-packages
fi
echo "setup: making .venv with $("$python" -V) (about a minute with a warm pip cache)"
rm -rf .venv
said=$("$python" -m venv $options .venv 2>&1) || {
  rm -rf .venv
  case $said in
    *ensurepip*) fail "$python cannot make a virtual environment; on Debian or Ubuntu: sudo apt-get install python3-venv" ;;
    *) fail "$python cannot make .venv: $(echo "$said" | tail -1)" ;;
  esac
}
extras=train,book,lab,dev constraints=requirements.lock
if [ "$torch" = system ]; then
  # Whatever came with the machine's torch stays: only what stands beside it is pinned.
  extras=book,lab,dev constraints=.venv/constraints.txt
  kept='^(torch|torchvision|numpy|pillow|sympy|mpmath|networkx|filelock|fsspec|typing_extensions)=='
  grep -Eiv "$kept" requirements.lock > "$constraints"
  # `--system-site-packages` of an interpreter that is itself a venv's leads past that venv.
  "$python" -c 'import sys, sysconfig
if sys.prefix != sys.base_prefix: print(sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sep="\n")' \
    > "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/system.pth"
fi
log=.venv/setup.log
.venv/bin/python -m pip --disable-pip-version-check install -c "$constraints" \
    -e ".[$extras]" -e packages/minislurm > "$log" 2>&1 || {
  # pip's last words after a lost network are of conflicts; what it tried before tells.
  if grep -q 'No space left on device' "$log"; then
    why="the disk is full (.venv takes some 6 GB with PyPI's torch, which brings CUDA)"
  elif grep -Eq 'Retry\(total=0|Could not fetch URL|NewConnectionError' "$log"; then
    why="no package index answers; look at the network, the proxy and: pip config list"
  else
    why=$(grep -E '^ERROR' "$log" | head -1 | cut -c1-300 | sed 's/^ERROR: *//')
  fi
  fail "pip could not install: ${why:-$(tail -1 "$log")} (the whole story: $log)"
}
# The kernel that the notebooks name.
.venv/bin/scalebook kernel install --prefix .venv >> "$log" 2>&1 ||
  fail "the notebooks' kernel: $(tail -1 "$log")"
printf '%s\n' "$want" "$python" "$torch" > "$stamp"
echo "setup: done"
