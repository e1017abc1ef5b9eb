"""Tasks: labels, predictions, metrics and baselines."""
