"""The ledger: every number a document may quote, by key, with where it came from."""

from scalebook.values.inputs import check
from scalebook.values.keys import ledger, lookup
from scalebook.values.value import Value

__all__ = ["Value", "check", "ledger", "lookup"]
