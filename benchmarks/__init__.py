"""Benchmarks, one script per question, with peers: `python -m benchmarks.NAME --help`."""
