#!/bin/bash
# Tells PyTorch what Slurm knows: srun slurm/torch_env.sh python -m scalebook.train …
#   one task a rank:  srun --ntasks-per-node=2 slurm/torch_env.sh CMD…
#   one task a node:  RANKS_PER_NODE=2 srun --ntasks-per-node=1 slurm/torch_env.sh CMD…
#   in an image:      CONTAINER=project.sif srun … (see env/project.def)
# Sets MASTER_ADDR, MASTER_PORT, WORLD_SIZE, RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, and the network
# interface for Gloo and NCCL unless GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME says another.
set -euo pipefail
# shellcheck source=slurm/container.sh
. "$(dirname "${BASH_SOURCE[0]}")/container.sh"

node=$SLURM_NODEID nodes=${SLURM_STEP_NUM_NODES:-$SLURM_JOB_NUM_NODES}
list=${SLURM_STEP_NODELIST:-$SLURM_JOB_NODELIST}
mapfile -t hosts < <(scontrol show hostnames "$list" 2>/dev/null)
if [ ${#hosts[@]} -lt "$nodes" ]; then
  [ "$SLURM_LOCALID" != 0 ] || echo "torch_env: node $node has no scontrol that names the hosts of $list:" \
    "start this script outside of the image, or load Slurm's module in slurm/site.sh" >&2
  exit 1
fi

# Below the ephemeral ports, so that no outgoing connection has it, and derived from the ids, so
# that all ranks know it and neither another job on the node nor the next step has the same; one that
# is set stays.
step=${SLURM_STEP_ID:-0}
export MASTER_ADDR=${hosts[0]}
export MASTER_PORT=${MASTER_PORT:-$((10000 + (SLURM_JOB_ID * 16 + step % 16) % 20000))}

# The interface that leads to another node of the step; Gloo and NCCL would take the first that is
# up, which may be a bridge of the node itself. A node asks its name service and routing table.
interface=lo
if [ "$nodes" -gt 1 ]; then
  peer=${hosts[0]}
  if [ "$node" = 0 ]; then peer=${hosts[1]}; fi
  interface=""
  address=$(getent ahosts "$peer" | { read -r first _ && echo "$first"; } || true)
  if [ -n "$address" ]; then
    interface=$(ip -o route get "$address" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' || true)
  fi
  [ -n "$interface" ] ||
    echo "torch_env: node $node finds no route to $peer: PyTorch picks the interface" >&2
fi
if [ -n "$interface" ]; then
  export GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-$interface}
  export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-$interface}
fi

# Which ranks this task starts: one, or all of its node, each then with its share of the processors.
ranks=${RANKS_PER_NODE:-1}
if [ -n "${RANKS_PER_NODE:-}" ]; then
  first=$((node * ranks)) first_local=0
  export LOCAL_WORLD_SIZE=$ranks WORLD_SIZE=$((ranks * nodes))
  share=$((${SLURM_CPUS_PER_TASK:-1} / ranks))
  export SLURM_CPUS_PER_TASK=$((share > 0 ? share : 1))
else
  first=$SLURM_PROCID first_local=$SLURM_LOCALID
  # Tasks of each node, such as 2(x3),1; this node's is wanted.
  each=$(tr ',' '\n' <<< "${SLURM_STEP_TASKS_PER_NODE:-$SLURM_TASKS_PER_NODE}" |
    awk -F '[(x)]+' '{ for (i = 0; i < ($2 ? $2 : 1); i++) print $1 }')
  LOCAL_WORLD_SIZE=$(sed -n "$((node + 1))p" <<< "$each")
  export LOCAL_WORLD_SIZE WORLD_SIZE=$SLURM_NTASKS
fi

# USR1 says that the time limit is near. Slurm sends it to every process of the step: until the
# training listens to it, it must not end a rank.
trap '' USR1
pids=()
for ((i = 0; i < ranks; i++)); do
  RANK=$((first + i)) LOCAL_RANK=$((first_local + i)) ${container[@]+"${container[@]}"} "$@" &
  pids+=($!)
done
# A bash that a signal ended would leave the ranks to nobody: it passes them on.
pass_on() { kill -s "$1" ${pids[@]+"${pids[@]}"} 2>/dev/null || true; }
trap 'pass_on TERM' TERM
trap 'pass_on USR1' USR1

# Until the last rank has ended. The first that fails ends the others, which get ten seconds, and
# gives the exit status. A rank that asks to be queued again (75) is no failure: all ask.
exec {silence}<> <(:) # to pause without starting a process beside the training
status=0 failed="" deadline=0
while [ ${#pids[@]} -gt 0 ]; do
  for i in "${!pids[@]}"; do
    # A signal ends `wait` early, so only a rank that is gone is waited for.
    kill -0 "${pids[i]}" 2>/dev/null && continue
    code=0
    wait "${pids[i]}" || code=$?
    unset "pids[$i]"
    if [ "$code" = 0 ] || [ -n "$failed" ]; then continue; fi
    status=$code
    if [ "$code" != 75 ]; then
      failed=yes deadline=$((SECONDS + 10))
      pass_on TERM
    fi
  done
  if [ -n "$failed" ] && [ $SECONDS -ge $deadline ]; then pass_on KILL; fi
  [ ${#pids[@]} -eq 0 ] || read -rt 0.2 -u "$silence" || true
done

# To srun any status but 0 is a failure, for which it would end the other tasks while they may be
# writing the checkpoint. So the wish is noted for the job script, which queues the job again.
if [ "$status" = 75 ] && [ -n "${SCALEBOOK_REQUEUE:-}" ] && touch "$SCALEBOOK_REQUEUE"; then
  status=0
fi
exit "$status"
