"""Chapter 7: split the hidden state of each token into heads, and merge them again."""


def split_heads(x, K):
    """Cut each token's vector into K adjacent pieces of H = D / K numbers, one for each head.

    Args:
        x (B, T, D): the hidden states.
        K: the number of heads.

    Returns:
        heads (B, K, T, H): heads[:, 0] are the first H numbers of each token.
    """
    raise NotImplementedError


def merge_heads(heads):
    """Undo `split_heads`.

    Args:
        heads (B, K, T, H): one piece of each token for each head.

    Returns:
        x (B, T, D).
    """
    raise NotImplementedError
