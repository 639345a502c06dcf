"""The database below the accounting daemon: MariaDB, in memory, gone with the cluster.

It runs as the user ``mysql``, listens to a socket in that user's own folder alone, and lets in
the system's root alone (unix_socket), which slurmdbd runs as: there is no password to know.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from minislurm.machine import run


def install(run_dir: Path) -> None:
    """Make an empty database."""
    folder = run_dir / "mysql"
    run(["mount", "-t", "tmpfs", "-o", "mode=700,size=2g", "database", str(folder)])
    run(["chown", "mysql:", str(folder)])
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}", "--user=mysql"]
    command += [f"--tmpdir={folder}"]  # TMPDIR may be root's own
    command += ["--auth-root-authentication-method=socket", "--skip-test-db"]
    run([*command, "--innodb-log-file-size=8M"])


def server_command(run_dir: Path) -> list[str]:
    """Command line of the server: small, and careless about losing power."""
    folder = run_dir / "mysql"
    return [
        "mariadbd",
        "--no-defaults",
        f"--datadir={folder}",
        "--user=mysql",
        f"--tmpdir={folder}",
        f"--socket={_socket(run_dir)}",
        "--skip-networking",
        f"--secure-file-priv={folder}",
        f"--pid-file={folder}/pid",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=8M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    ]


def answers(run_dir: Path) -> bool:
    """Whether the server takes connections."""
    quiet = subprocess.DEVNULL
    client = ["mariadb", "--no-defaults", f"--socket={_socket(run_dir)}", "-e", ""]
    return subprocess.run(client, stdin=quiet, stderr=quiet).returncode == 0


def client_environment(run_dir: Path) -> list[str]:
    """What starts a daemon that is to find the server: slurmdbd.conf cannot name a socket."""
    return ["env", f"MYSQL_UNIX_PORT={_socket(run_dir)}"]


def _socket(run_dir: Path) -> Path:
    return run_dir / "mysql" / "socket"
