"""Notebooks of a study: which are stale, by content, and the execution of those that are."""
