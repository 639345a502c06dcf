"""The ledger: every number a document may quote, by key, with where it came from."""
