"""The ledger: every number a document may quote, by key, with where it came from."""

from scalebook.values.inputs import check
from scalebook.values.keys import SHORT, ledger, lookup
from scalebook.values.keys import digest as ledger_digest
from scalebook.values.value import Value

__all__ = ["SHORT", "Value", "check", "ledger", "ledger_digest", "lookup"]
