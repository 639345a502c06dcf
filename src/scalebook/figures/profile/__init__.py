"""Figures of profiler traces: where the time of a device goes, and what it waits for."""
