# shellcheck shell=bash
# Sourced: how a command starts inside the Apptainer image CONTAINER; nothing where none is set.
# The GPU's driver comes from the node: --nv for NVIDIA, --rocm for AMD, neither on a CPU.
container=()
if [ -n "${CONTAINER:-}" ]; then
  runtime=$(command -v apptainer || command -v singularity) || {
    echo "CONTAINER=$CONTAINER: no apptainer on this node; load its module in slurm/site.sh" >&2
    exit 1
  }
  container=("$runtime" exec --bind "$PWD" --pwd "$PWD")
  if [ -e /dev/nvidiactl ]; then container+=(--nv); elif [ -e /dev/kfd ]; then container+=(--rocm); fi
  container+=("$CONTAINER")
fi
