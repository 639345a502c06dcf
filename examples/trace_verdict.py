"""Where a trace's time goes: python examples/trace_verdict.py FILE…, in a study's folder."""

import sys

from scalebook import traces

for path in sys.argv[1:]:
    summary = traces.summary(path)
    print(path)
    for part in ("compute", "communication", "memory", "idle"):
        print(f"  {part:<14}{summary['time'][f'{part}_us'] / 1000:10.1f} ms")
    print(f"  {summary['verdict']}")
