# shellcheck shell=bash
# Sourced by the job scripts: what each does before, around and after its training step.
# Set as `EPOCHS=3 sbatch …`, or for good in slurm/site.sh, which is sourced where it exists and
# is the place for `module load`:
#   CONTAINER   Apptainer image to run in, such as project.sif (see env/project.def)
#   SYSTEM      system of study.yaml; else the one whose cluster this is
#   EPOCHS      as --set epochs=
#   PYTHON      interpreter instead of .venv/bin/python or python3
#   RANKS_PER_NODE   start as many ranks by one task a node, where a site wants that
fail() { echo "slurm: $*" >&2; exit 1; }

cd "${SCALEBOOK_ROOT:-$SLURM_SUBMIT_DIR}" || exit
[ -f study.yaml ] || fail "$PWD holds no study.yaml: submit from the study's folder"
# Submitted from within another job, as in a Hub's terminal, this one inherits what that one asked for.
# srun would take it for a wish of this job; without it, a step has all that its own job has.
unset SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU SLURM_MEM_PER_NODE SLURM_MEM_BIND "${!SLURM_CPU_BIND@}" \
  SLURM_GPUS "${!SLURM_GPUS_PER_@}" SLURM_GRES SLURM_EXPORT_ENV SLURM_OVERCOMMIT
if [ -n "${SLURM_STEP_ID:-}" ]; then unset SLURM_DISTRIBUTION; fi
# shellcheck source=/dev/null
if [ -f slurm/site.sh ]; then . slurm/site.sh; fi
set -euo pipefail
# shellcheck source=slurm/container.sh
. slurm/container.sh

python=${PYTHON:-python3}
if [ -n "${CONTAINER:-}" ]; then
  # What the node has installed is none of the image's business.
  python=python3 PYTHONPATH="" PYTHONNOUSERSITE=1
  export PYTHONNOUSERSITE
elif [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then
  python=$PWD/.venv/bin/python
fi
export SCALEBOOK_ROOT=$PWD PYTHONUNBUFFERED=1
if [ -d src/scalebook ]; then export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}; fi

# Python on this node, outside of any step.
here() { ${container[@]+"${container[@]}"} "$python" "$@"; }

here -c 'import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))' \
  scalebook torch torchvision click pydantic yaml psutil tqdm ||
  fail "$python lacks packages of requirements.txt: make setup on the login node, or see slurm/common.sh"
# A run that `scalebook run --resume` submits again keeps its id.
if [ -z "${SCALEBOOK_RESUME:-}" ]; then
  SCALEBOOK_JOB_ID=$(here -c 'import sys; from scalebook import contract
print(contract.slurm_run_id(*sys.argv[1:]))' \
    "${SLURM_CLUSTER_NAME:-}" "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" "${SLURM_ARRAY_TASK_ID:-}")
fi
# The bare number of an array's last task is that of the whole array.
slurm_id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
notes=.scalebook/jobs/$SCALEBOOK_JOB_ID
export SCALEBOOK_JOB_ID SCALEBOOK_PROGRESS=$PWD/$notes/progress.json
mkdir -p "$notes"
# The attempt before is over, and how far it came is no news.
echo '{"phase": "waiting"}' > "$SCALEBOOK_PROGRESS"

# The commit that runs; the container need not have git.
if commit=$(git rev-parse --verify HEAD 2>/dev/null); then
  export SCALEBOOK_COMMIT=$commit SCALEBOOK_DIRTY=0
  git diff --quiet HEAD || SCALEBOOK_DIRTY=1
fi

# step NODES TASKS ARGUMENTS…: Python under srun, a rank a task unless RANKS_PER_NODE is set; then
# the job ends. Ranks that stopped before the time limit have asked to be queued again.
step() {
  local nodes=$1 tasks=$2 status=0
  shift 2
  export SCALEBOOK_REQUEUE=$PWD/$notes/requeue
  rm -f "$SCALEBOOK_REQUEUE"
  # What was to end a step on a lost node reaches the node when it is back, a minute later, and ends
  # the step that has this number then: an attempt leaves out the number of the one before.
  if ((${SLURM_RESTART_COUNT:-0} % 2)); then srun --nodes=1 --ntasks=1 true || true; fi
  srun --kill-on-bad-exit=1 --nodes="$nodes" --ntasks="$tasks" \
    --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" slurm/torch_env.sh "$python" "$@" || status=$?
  if [ $status = 0 ] && [ -e "$SCALEBOOK_REQUEUE" ]; then
    echo "slurm: the time limit was near: a checkpoint is written, the job is queued again"
    scontrol requeue "$slurm_id" ||
      echo "slurm: it cannot be: go on with: scalebook run --resume $SCALEBOOK_JOB_ID" >&2
    status=75
  fi
  exit $status
}

# run_experiment EXPERIMENT [--seed N] [--set KEY=VALUE]…: train it with what resolve makes of it.
run_experiment() {
  local resolved=${SCALEBOOK_RESOLVED:-} layout submitted
  if [ -z "$resolved" ]; then
    SCALEBOOK_OUTPUT=$(readlink "/proc/$$/fd/1" || true) # where this job prints
    submitted=$(scontrol show job "$slurm_id" | grep -o 'SubmitTime=[^ ]*' || true)
    SCALEBOOK_SUBMITTED=${submitted:+$(date -u -d "${submitted#*=}" +%FT%TZ || true)}
    export SCALEBOOK_OUTPUT SCALEBOOK_SUBMITTED
    resolved=$(here -m scalebook.cli resolve --job --system "${SYSTEM:-auto}" "$@")
  elif [ -d "$resolved" ]; then
    resolved=$resolved/$SLURM_ARRAY_TASK_ID.json
  fi
  layout=$(here -c 'import json, sys
layout = json.load(open(sys.argv[1]))["layout"]
print(layout["nodes"], layout["world_size"], layout["ranks_per_node"])' "$resolved")
  read -r nodes ranks each <<< "$layout"
  if [ -n "${RANKS_PER_NODE:-}" ]; then
    export RANKS_PER_NODE=$each
    ranks=$nodes
  fi
  step "$nodes" "$ranks" -m scalebook.train --experiment "$resolved" ${SCALEBOOK_RESUME:+--resume}
}

# run_test MODULE [ARGUMENTS]…: a module of scalebook.train on every task of the job, told what
# the study knows of the system.
run_test() {
  local module=$1
  shift
  here -m scalebook.cli system --system "${SYSTEM:-auto}" > "$notes/system.json"
  step "$SLURM_JOB_NUM_NODES" "${SLURM_NTASKS:-$SLURM_JOB_NUM_NODES}" \
    -m "$module" --system "$notes/system.json" "$@"
}
