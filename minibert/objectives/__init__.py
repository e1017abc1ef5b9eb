"""What a model is trained to do: batches, labels and their evaluation."""
