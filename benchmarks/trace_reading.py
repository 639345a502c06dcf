"""Reading a profiler trace: against parsing its JSON alone, and against HolisticTraceAnalysis.

Every round starts each reader in a process of its own; interpreter start and imports are not
timed. A reader loads the file and answers the breakdown by kernel, the breakdown over time and
the overlap of communication with compute:

- ``json``: gunzip and orjson alone, no answers. The limit of anything that parses all of it.
- ``scalebook``: ours, without what it kept of the file.
- ``kept``: ours, a file that was read before.
- ``hta``: HolisticTraceAnalysis, by the Python of an environment that holds it (--hta).

Usage: python benchmarks/trace_reading.py TRACE.json.gz [--rounds 7] [--hta /env/bin/python]

HolisticTraceAnalysis is no dependency of the project. An environment that holds it:

    python3 -m venv /tmp/hta && /tmp/hta/bin/pip install HolisticTraceAnalysis==0.5.0

Traces to compare on are among its own public test data. Of a small file (1.7 MB unpacked, 4,855
events) about a third of our time does not grow with the file: tables of a few thousand rows cost
pandas as much as tables of none. There it is less than four times as fast, not six.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_TIMED = """
import json, resource, sys, time
path = sys.argv[1]
{imports}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
more = (peak - before) / 1024
print(json.dumps({{"seconds": seconds, "peak_mib": peak / 1024, "more_mib": more}}))
"""
_OURS = """
trace = traces.read(Path(path))
traces.get_breakdown(trace, "family"), traces.get_breakdown(trace, "kernel_family")
traces.get_breakdown(trace, "kernel"), traces.get_time(trace)
"""
_HTA = """
found = TraceAnalysis(trace_files={0: path})
found.get_gpu_kernel_breakdown(visualize=False)
found.get_temporal_breakdown(visualize=False)
found.get_comm_comp_overlap(visualize=False)
"""
_READERS = {
    "json": ("import gzip, orjson", "orjson.loads(gzip.decompress(open(path, 'rb').read()))"),
    "scalebook": ("from pathlib import Path\nfrom scalebook import traces", _OURS),
    "kept": ("from pathlib import Path\nfrom scalebook import traces", _OURS),
    "hta": ("from hta.trace_analysis import TraceAnalysis", _HTA),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hta", metavar="PYTHON", help="Python with HolisticTraceAnalysis")
    arguments = parser.parse_args()
    readers = [name for name in _READERS if name != "hta" or arguments.hta]
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in readers}
    with tempfile.TemporaryDirectory() as folder:
        # Readers may write beside what they read.
        trace = Path(folder) / arguments.trace.name
        trace.write_bytes(arguments.trace.read_bytes())
        (Path(folder) / "study.yaml").write_text("")
        run_reader("kept", trace, arguments.hta, folder)
        for _ in range(arguments.rounds):
            for name in readers:
                figures[name].append(run_reader(name, trace, arguments.hta, folder))
    limit = statistics.median(one["seconds"] for one in figures["json"])
    result = {}
    print(
        f"{'reader':12s} {'seconds':>9s} {'low':>8s} {'of json':>8s} {'peak MiB':>9s} {'more':>7s}"
    )
    for name, rounds in figures.items():
        seconds = [one["seconds"] for one in rounds]
        row = {
            "seconds": statistics.median(seconds), "low": min(seconds),
            "of_json": statistics.median(seconds) / limit,
            "peak_mib": max(one["peak_mib"] for one in rounds),
            "more_mib": max(one["more_mib"] for one in rounds),
        }  # fmt: skip
        result[name] = row
        print(
            f"{name:12s} {row['seconds']:9.3f} {row['low']:8.3f} {row['of_json']:8.2f} "
            f"{row['peak_mib']:9.0f} {row['more_mib']:7.0f}"
        )
    print(json.dumps(result, indent=2))
    return 0


def run_reader(name: str, trace: Path, hta: str | None, study: str) -> dict[str, float]:
    """Read the trace once in a new process."""
    imports, work = _READERS[name]
    # Outside a study nothing is kept.
    root = {"SCALEBOOK_ROOT": study if name == "kept" else os.devnull}
    done = subprocess.run(
        [hta if name == "hta" else sys.executable, "-c",
         _TIMED.format(imports=imports, work=work), str(trace)],
        env=os.environ | root, cwd=study, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
