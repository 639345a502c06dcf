"""One digest for all numbers, so that a document says from which of them it was made."""

from scalebook.values import SHORT, ledger_digest

__all__ = ["SHORT", "ledger_digest"]
