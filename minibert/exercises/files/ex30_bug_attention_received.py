"""Chapter 15: repair a summary of the attention that each token receives."""


def attention_received(weights, mask):
    """Return how much attention each token receives, on average over heads and queries.

    In weights, each query's row sums to one, and keys that are padding have the weight 0. Queries
    that are padding have rows, too, which must not count. There is a bug: every token seems to
    receive the same. Look at the shapes, and repair it.

    Args:
        weights (B, K, T, T): of K heads; weights[b, k, q, t] is the weight of key t for query q.
        mask (B, T): 1 for a token, 0 for padding.

    Returns:
        received (B, T): 0 for padding; each row sums to one.
    """
    mean = weights.mean(axis=(1, 3))  # (B, K, T, T) -> (B, T)
    return mean / mean.sum(axis=-1, keepdims=True)
