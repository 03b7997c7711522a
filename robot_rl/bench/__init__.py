"""Benchmarks behind `robot-rl bench`; each module has `run(...) -> dict`."""
