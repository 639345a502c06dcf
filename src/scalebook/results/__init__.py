"""What came back: runs, their epochs and steps, all-reduce curves, and what others reported.

Every function here is a query (see `scalebook.results.queries`): what a notebook
asked for, and a digest of the answer, tell whether it must be executed again.
"""

from scalebook.results.catalogue import (
    CLAIM_COLUMNS,
    REPORTED_COLUMNS,
    RUN_COLUMNS,
    allreduce,
    claims,
    epochs,
    manifest,
    newest,
    problems,
    reported,
    runs,
    steps,
)
from scalebook.results.curves import COLUMNS as ALLREDUCE_COLUMNS
from scalebook.results.queries import answer_digest, digest, query

__all__ = [
    "ALLREDUCE_COLUMNS",
    "CLAIM_COLUMNS",
    "REPORTED_COLUMNS",
    "RUN_COLUMNS",
    "allreduce",
    "answer_digest",
    "claims",
    "digest",
    "epochs",
    "manifest",
    "newest",
    "problems",
    "query",
    "reported",
    "runs",
    "steps",
]
