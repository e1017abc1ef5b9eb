"""Many texts at once: batched prediction, feature extraction."""
