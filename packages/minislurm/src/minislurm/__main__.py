"""``minislurm up|down|status|env|check``: the small cluster by hand."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from minislurm import cgroups, leftovers
from minislurm.cluster import MiniCluster
from minislurm.machine import ClusterError, check_machine
from minislurm.settings import Settings


def main() -> int:
    """Do what the command line asks; one line and exit status 1 or 2 where that fails."""
    parser = argparse.ArgumentParser(
        prog="minislurm", description="A real Slurm, small, on this machine."
    )
    parser.add_argument("action", choices=list(_ACTIONS))
    parser.add_argument("--name", default="default", help="tells several clusters apart")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="of each node")
    parser.add_argument(
        "--mem", type=int, default=4000, dest="memory_mb", metavar="MB", help="of each node"
    )
    parser.add_argument("--gpus", type=int, default=2, help="of each node; scheduled, not there")
    parser.add_argument("--link", metavar="RATE", help="rate of each node's cable, as 1gbit")
    parser.add_argument(
        "--no-accounting", action="store_false", dest="accounting", help="no slurmdbd, no sacct"
    )
    chosen = vars(parser.parse_args())
    action = _ACTIONS[chosen.pop("action")]
    try:
        return action(MiniCluster(**{**chosen, "link": chosen["link"] or None}))
    except ClusterError as error:
        print(f"minislurm: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def up(cluster: MiniCluster) -> int:
    """Bring it up and print the one line to type next."""
    cluster.up()
    if not cgroups.available():
        print(
            "minislurm: no cgroups of version 1 here: memory is looked at once a second, and a "
            "step over its limit ends CANCELLED, not OUT_OF_MEMORY",
            file=sys.stderr,
        )
    return env(cluster)


def down(cluster: MiniCluster) -> int:
    """Take it down."""
    was_up = cluster.down()
    print(f"{cluster.settings.name}: {'down' if was_up else 'was not up'}")
    return 0


def env(cluster: MiniCluster) -> int:
    """Print the line that makes Slurm's commands speak to it."""
    if not leftovers.is_up(cluster.run_dir):
        raise ClusterError(f"no small cluster named {cluster.settings.name} is up")
    print(f". {cluster.run_dir}/env")
    return 0


def check(cluster: MiniCluster) -> int:
    """Check that this machine can have one."""
    check_machine(cluster.settings.accounting)
    print("a small cluster can come up here")
    return 0


def status(cluster: MiniCluster) -> int:
    """Show it; exit status 1 if it is not up."""
    if not leftovers.is_up(cluster.run_dir):
        cluster.down()
        print(f"{cluster.settings.name}: not up")
        return 1
    settings = Settings.load(cluster.run_dir)
    seconds = int(time.time() - (cluster.run_dir / "cluster.json").stat().st_mtime)
    print(
        f"{settings.cluster_name}: up {seconds // 60} min {seconds % 60} s, "
        f"pid {leftovers.main_process(cluster.run_dir)}, "
        f"link {settings.link or 'open'}; . {cluster.run_dir}/env"
    )
    for command in (["sinfo", "-N", "-p", "main", "-o", "%N %T %c %m %G"], ["squeue"]):
        subprocess.run(command, env=cluster.env)
    return 0


_ACTIONS = {"up": up, "down": down, "status": status, "env": env, "check": check}

if __name__ == "__main__":
    sys.exit(main())
