"""What came back: runs, epochs, steps, all-reduce curves, utilisation, and what others reported.

Every function here is a query (see `scalebook.results.queries`): what a notebook
asked for, and a digest of the answer, tell whether it must be executed again.
"""

from scalebook.results.catalogue import (
    RUN_COLUMNS,
    allreduce,
    claims,
    epochs,
    find,
    manifest,
    newest,
    of_each,
    problems,
    reported,
    reported_files,
    runs,
    steps,
)
from scalebook.results.curves import COLUMNS as ALLREDUCE_COLUMNS
from scalebook.results.digests import digest
from scalebook.results.metrics import METRICS
from scalebook.results.queries import answer_digest, query
from scalebook.results.schema import read_epochs, read_steps, throughput, timed
from scalebook.results.snapshots import Snapshot, answer, one_snapshot, remembered, snapshot
from scalebook.results.utilisation import COLUMNS as UTILISATION_COLUMNS
from scalebook.results.utilisation import utilisation, utilisation_began, utilisation_files

__all__ = [
    "ALLREDUCE_COLUMNS",
    "METRICS",
    "RUN_COLUMNS",
    "UTILISATION_COLUMNS",
    "Snapshot",
    "allreduce",
    "answer",
    "answer_digest",
    "claims",
    "digest",
    "epochs",
    "find",
    "manifest",
    "newest",
    "of_each",
    "one_snapshot",
    "problems",
    "query",
    "read_epochs",
    "read_steps",
    "remembered",
    "reported",
    "reported_files",
    "runs",
    "snapshot",
    "steps",
    "throughput",
    "timed",
    "utilisation",
    "utilisation_began",
    "utilisation_files",
]
