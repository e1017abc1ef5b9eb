"""One script a question, peers measured in the same run: `python -m benchmarks.NAME --help`."""
