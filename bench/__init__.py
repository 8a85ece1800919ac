"""Benchmarks: one module each, run by `scripts/bench NAME`. A benchmark compares in one run and prints its machine with it."""
