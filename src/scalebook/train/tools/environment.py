"""What every node has: ``python -m scalebook.train.tools.environment --system SYSTEM.json``.

Run with one task a node under ``slurm/torch_env.sh``. Each task looks around and tells the first
one over a socket, at the address and port where the ranks of a training would meet: that way
the path between the nodes is tried too, and a node without PyTorch can still say so. The first
prints a table and a line for each fault, and exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import socket
import sys
import time
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.train.settings import DatasetSettings

#: Packages of a training process.
PACKAGES = ("torch", "torchvision", "numpy", "PIL")

# Importing torch for the first time from a busy file system may take minutes.
_PATIENCE_S = 240.0
_HEADINGS = ("node", "host", "python", *PACKAGES, "GPUs", "data", "interface", "round trip")


def main(argv: list[str] | None = None) -> int:
    """Look around and compare; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        root = contract.find_root()
        known = contract.read_json(Path(arguments.system))
    except ScalebookError as error:
        print(f"node {_number('RANK', 0)}: {error}", file=sys.stderr)
        return 1
    rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    gpus = (known.get("facts") or {}).get("gpus_per_node") or 0
    images = known["images"]
    address = (os.environ.get("MASTER_ADDR", "127.0.0.1"), _number("MASTER_PORT", 29400))
    if rank:
        return _tell(address, look(rank, root, gpus, images), arguments.patience)
    try:
        reports = [look(0, root, gpus, images), *_listen(address[1], size - 1, arguments.patience)]
    except OSError as error:
        print(f"node 0: port {address[1]} cannot be used ({error.strerror})", file=sys.stderr)
        return 1
    reports.sort(key=lambda report: report["node"])
    _print_table([_cells(report) for report in reports])
    faults = compare(reports, size, address[0])
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"all {size} nodes have what a rank needs")
    return 1 if faults else 0


def look(node: int, root: Path, gpus: int, images: list[dict[str, Any]]) -> dict[str, Any]:
    """Look around on this node.

    Parameters
    ----------
    node : int
        Its number among the tasks.
    root : Path
        Folder of the study.
    gpus : int
        GPUs of a node, as the study knows the system; 0 where it has none.
    images : list of dict
        ``source`` and ``dir`` of the images that its experiments ask for.

    Returns
    -------
    dict
        ``faults`` holds a line for each thing that is wrong.
    """
    packages: dict[str, str | None] = {}
    faults: list[str] = []
    for name in PACKAGES:
        try:
            packages[name] = _version(name)
        except Exception as error:  # a broken installation raises anything
            packages[name] = None
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            faults.append(
                f"{name} cannot be imported ({reason}): see env/project.def or `make setup`"
            )
    devices = _gpus() if packages["torch"] else []
    if gpus and packages["torch"] and not devices:
        faults.append(
            f"torch sees no GPU and the system has {gpus} a node: ask for them (--gpus-per-node) "
            "and take a torch built for them"
        )
    data = None
    try:
        data = _data(root, images)
    except (ScalebookError, ImportError, OSError) as error:
        faults.append(f"data: {error}")
    return {
        "node": node,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "packages": packages,
        "gpus": devices,
        "data": data,
        "interface": os.environ.get("GLOO_SOCKET_IFNAME"),
        "round_trip_us": None,
        "faults": faults,
    }


def compare(reports: list[dict[str, Any]], size: int, first: str) -> list[str]:
    """Every fault in one line: those of each node, and where nodes differ from the first."""
    faults = [f"node {report['node']}: {fault}" for report in reports for fault in report["faults"]]
    heard = {report["node"]: report for report in reports}
    for node in range(size):
        if node not in heard:
            faults.append(
                f"node {node}: did not report to {first}: it did not start, or cannot reach that "
                "node's ports below 32768 (its own line says which)"
            )
    for report in reports[1:]:
        for what in ("python", "packages", "data"):
            mine, theirs = reports[0][what], report[what]
            if mine and theirs and mine != theirs:
                faults.append(f"node {report['node']}: {what} is {theirs}, on node 0 it is {mine}")
    return faults


def _version(name: str) -> str:
    if name == "torchvision":
        # It imports torch, which may be what is missing.
        from scalebook.train.torchvision_fix import import_torchvision

        return str(import_torchvision().__version__)
    return str(importlib.import_module(name).__version__)


def _gpus() -> list[str]:
    import torch  # it may be what is missing

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _data(root: Path, images: list[dict[str, Any]]) -> str:
    """Name the images that a training would take, and how many files they are here."""
    from scalebook.train.images import finding  # which imports torch

    found = []
    for asked in images:
        try:
            source = finding.find(DatasetSettings(**asked), root)
        except finding.NoImages:
            if asked["source"] != "auto":
                raise
            found.append("generated")
            continue
        folder = source.folder.relative_to(root) if source.folder else None
        found.append(f"{folder}: {len(source.listing())} files" if folder else "generated")
    return "; ".join(dict.fromkeys(found))


# --------------------------------------------------------------------------- between nodes


def _tell(address: tuple[str, int], report: dict[str, Any], patience_s: float) -> int:
    """Send this node's report to the first; returns the exit status, 1 if it is out of reach."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with socket.create_connection(address, timeout=5) as link:
                lines = link.makefile("rwb")
                start = time.perf_counter()
                _send(lines, "?")
                lines.readline()
                report["round_trip_us"] = (time.perf_counter() - start) * 1e6
                _send(lines, report)
                lines.readline()  # it has been read
            # The first node tells all faults; a failure here would end it before it has.
            return 0
        except OSError as error:
            if time.monotonic() > deadline:
                print(
                    f"node {report['node']} ({report['host']}): cannot reach "
                    f"{address[0]}:{address[1]} by {report['interface']} ({error}): check name "
                    "service, firewall and GLOO_SOCKET_IFNAME",
                    file=sys.stderr,
                )
                time.sleep(5)  # until the first has printed its table
                return 1
            time.sleep(0.5)  # the first node may still be importing torch


def _listen(port: int, count: int, patience_s: float) -> list[dict[str, Any]]:
    """Reports of the other nodes; those that do not come within the time are missing."""
    reports: list[dict[str, Any]] = []
    deadline = time.monotonic() + patience_s
    with socket.create_server(("", port)) as server:
        while len(reports) < count and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                link, _ = server.accept()
                with link:
                    link.settimeout(5)
                    lines = link.makefile("rwb")
                    lines.readline()
                    _send(lines, "!")
                    reports.append(json.loads(lines.readline()))
                    _send(lines, "!")
            except (OSError, ValueError):  # too late, or no node of ours
                continue
    return reports


def _send(lines: Any, value: Any) -> None:
    lines.write(json.dumps(value).encode() + b"\n")
    lines.flush()


# --------------------------------------------------------------------------- showing


def _cells(report: dict[str, Any]) -> list[str]:
    trip = report["round_trip_us"]
    gpus = report["gpus"]
    return [
        str(report["node"]),
        report["host"],
        report["python"],
        *(report["packages"][name] or "missing" for name in PACKAGES),
        f"{len(gpus)} x {gpus[0]}" if gpus else "none",
        report["data"] or "missing",
        report["interface"] or "-",
        "-" if trip is None else f"{trip:.0f} us",
    ]


def _print_table(rows: list[list[str]]) -> None:
    table = [list(_HEADINGS), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADINGS))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.stdout.flush()


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scalebook.train.tools.environment",
        description="Check that every node has what a rank needs.",
    )
    parser.add_argument(
        "--system",
        required=True,
        metavar="SYSTEM.json",
        help="what the study knows of the system, as `scalebook system` prints it",
    )
    parser.add_argument(
        "--patience", type=float, default=_PATIENCE_S, metavar="S", help="wait so long for a node"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
