"""Inference over many texts: batched prediction, feature extraction, vector stores."""
