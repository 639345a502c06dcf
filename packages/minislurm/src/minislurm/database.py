"""The database below the accounting daemon: MariaDB, in memory, gone with the cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

from minislurm.machine import run

_SCHEMA = (
    "create database if not exists slurm_acct_db;"
    "create user if not exists slurm@'127.0.0.1' identified by 'slurm';"
    "grant all on slurm_acct_db.* to slurm@'127.0.0.1'"
)


def install(run_dir: Path) -> None:
    """Make an empty database."""
    folder = run_dir / "mysql"
    run(["mount", "-t", "tmpfs", "-o", "mode=700,size=2g", "database", str(folder)])
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}", "--user=root"]
    command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    run([*command, "--innodb-log-file-size=8M"])


def server_command(run_dir: Path) -> list[str]:
    """Command line of the server: small, and careless about losing power."""
    return [
        "mariadbd",
        "--no-defaults",
        f"--datadir={run_dir}/mysql",
        "--user=root",
        f"--socket={run_dir}/sock/mysql",
        "--bind-address=127.0.0.1",
        f"--pid-file={run_dir}/mysql.pid",
        "--skip-log-bin",
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=8M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    ]


def prepare(run_dir: Path) -> bool:
    """Make Slurm's database and user; False while the server does not answer."""
    quiet = subprocess.DEVNULL
    client = ["mariadb", "--no-defaults", "-uroot", "-S", f"{run_dir}/sock/mysql"]
    return subprocess.run([*client, "-e", _SCHEMA], stdin=quiet, stderr=quiet).returncode == 0
