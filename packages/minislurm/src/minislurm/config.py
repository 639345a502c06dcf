"""The files a small cluster's daemons read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from minislurm import placement
from minislurm.settings import Settings


def write_files(settings: Settings, cgroups: Path | None, cores: Sequence[int]) -> None:
    """Write everything below the run directory's ``etc``, and the fake GPUs.

    Parameters
    ----------
    settings : Settings
        The cluster.
    cgroups : Path or None
        Where its own cgroups (version 1) are mounted; None where the machine has none.
    cores : sequence of int
        The machine's cores. Tasks are bound to them where there are as many as a node has.
    """
    run = settings.run_dir
    for folder in ("etc", "log", "state", "sock", "dev", "mysql", "sys-cgroup"):
        (run / folder).mkdir()
    for node in settings.node_addresses:
        (run / "spool" / node).mkdir(parents=True)
    for number in range(settings.gpus):
        # A character device is all that Slurm asks of a GPU; 195 is NVIDIA's major number.
        os.mknod(run / "dev" / f"nvidia{number}", 0o20666, os.makedev(195, number))
    bind = len(cores) >= settings.cpus
    for name, mode, content in (
        ("munge.key", 0o400, os.urandom(128)),
        ("slurmdbd.conf", 0o600, slurmdbd_conf(settings)),
        ("slurm.conf", 0o644, slurm_conf(settings, cgroups is not None, bind)),
        ("cgroup.conf", 0o644, cgroup_conf(cgroups)),
        ("gres.conf", 0o644, gres_conf(settings)),
        ("hosts", 0o644, hosts(settings)),
        ("task_prolog", 0o755, placement.task_prolog(cores, settings.nodes)),
    ):
        path = run / "etc" / name
        path.touch(0o600)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
    (run / "env").write_text(f"export SLURM_CONF={settings.slurm_conf}\n")


def hosts(settings: Settings) -> str:
    """Names every host of the cluster knows."""
    named = {"head": settings.address(1), "login": settings.address(254)}
    lines = [f"{address} {name}" for name, address in {**named, **settings.node_addresses}.items()]
    return "\n".join(["127.0.0.1 localhost", *lines, ""])


def gres_conf(settings: Settings) -> str:
    """GPUs that set CUDA_VISIBLE_DEVICES."""
    if not settings.gpus:
        return ""
    devices = f"{settings.run_dir}/dev/nvidia[0-{settings.gpus - 1}]"
    return f"Name=gpu File={devices} Flags=nvidia_gpu_env\n"


def cgroup_conf(cgroups: Path | None) -> str:
    """Memory limits by cgroup, where there are any."""
    if cgroups is None:
        return ""
    text = f"""CgroupPlugin=cgroup/v1
CgroupMountpoint={cgroups}
CgroupAutomount=no
ConstrainRAMSpace=yes
"""
    if (cgroups / "memory" / "memory.memsw.limit_in_bytes").exists():
        text += "ConstrainSwapSpace=yes\nAllowedSwapSpace=0\n"
    return text


def slurmdbd_conf(settings: Settings) -> str:
    """The accounting daemon; it and its database listen inside the cluster only."""
    run = settings.run_dir
    return f"""DbdHost=head
DbdAddr={settings.address(1)}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={run}/sock/munge
PidFile={run}/slurmdbd.pid
LogFile={run}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
"""


def slurm_conf(settings: Settings, cgroups: bool, bind: bool) -> str:
    """The scheduler and its nodes."""
    run = settings.run_dir
    gpus = f" Gres=gpu:{settings.gpus}" if settings.gpus else ""
    nodes = "\n".join(
        f"NodeName={node} NodeAddr={address}" for node, address in settings.node_addresses.items()
    )
    plugins = ["task/cgroup"] * cgroups + ["task/affinity"] * bind
    return f"""ClusterName={settings.cluster_name}
SlurmctldHost=head({settings.address(1)})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits as long as a credential lives (120 s by default): here 5 s.
AuthInfo=socket={run}/sock/munge,cred_expire=5
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool/%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd-%n.pid
SlurmctldLogFile={run}/log/slurmctld.log
SlurmdLogFile={run}/log/slurmd-%n.log
MpiDefault=none
MailProg=/bin/true

# Every node is told its size, whatever the machine below it has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={max(1, settings.memory_mb // settings.cpus)}
EnforcePartLimits=ALL
{_CGROUPS if cgroups else _NO_CGROUPS}
TaskPlugin={",".join(plugins) or "task/none"}
{f"TaskProlog={run}/etc/task_prolog" if bind else ""}
JobAcctGatherFrequency=task=1

# Answers in seconds, where a large cluster spares its controller.
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SlurmdTimeout=10
KillWait=5
MinJobAge={60 if settings.accounting else 600}
OverTimeLimit=0
ReturnToService=2

# `urgent` takes nodes from `main`, whose jobs are queued again.
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{_accounting(settings)}
{"GresTypes=gpu" if gpus else ""}
NodeName=DEFAULT Sockets=1 CoresPerSocket={settings.cpus} ThreadsPerCore=1 State=UNKNOWN
NodeName=DEFAULT RealMemory={settings.memory_mb}{gpus}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 State=UP
"""


_CGROUPS = "ProctrackType=proctrack/cgroup\nJobAcctGatherType=jobacct_gather/cgroup"
_NO_CGROUPS = """ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill"""


def _accounting(settings: Settings) -> str:
    if not settings.accounting:
        return "AccountingStorageType=accounting_storage/none"
    return f"""AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={settings.address(1)}
AccountingStoragePass={settings.run_dir}/sock/munge
{"AccountingStorageTRES=gres/gpu" if settings.gpus else ""}"""
