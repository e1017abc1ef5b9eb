"""Evidence of naive Bayes: how much pieces, and their letters, speak for the classes of texts."""

from collections.abc import Sequence

import numpy as np

from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array

PRIOR_TEXTS = 10.0  # imaginary texts with each piece, whose labels are as frequent as in all texts
MAX_LETTERS = 4  # of an n-gram


def class_evidence(
    texts: Sequence[Array], targets: Array, size: int, problem: str = "single_label_classification"
) -> Array:
    """Return how much each token speaks for each class (V, C).

        M[w, c] = (log P(c | w) / (1 - P(c | w)) - log P(c) / (1 - P(c))) · idf(w),
        P(c | w) = (n(w, c) + a P(c)) / (n(w) + a),   idf(w) = 1 + log (S + 1) / (n(w) + 1)

    n(w) is the number of texts with w, n(w, c) of those of class c, and a is `PRIOR_TEXTS`: so a
    token that is seen once or twice says little. Weights of a linear classifier that are log-count
    ratios are those of naive Bayes with the presence of tokens (Wang and Manning, 2012, section 2).
    Of a regression, M[w] is the sum of the numbers of the texts with w, divided by n(w) + a.

    Args:
        texts: S arrays of distinct token ids.
        targets (S, C): 1 where a text has a class and 0 elsewhere; or standardized numbers.
        size: V, the number of tokens.
        problem: as in `BertConfig.problem_type`.

    Returns:
        M (V, C), float64; 0 for a token that no text contains.
    """
    token = np.concatenate([np.zeros(0, int), *texts])  # (n,)
    lengths = [len(ids) for ids in texts]
    columns = (np.repeat(column.astype(float), lengths) for column in targets.T)  # C of (n,)
    counts = np.stack([np.bincount(token, column, size) for column in columns], axis=1)  # (V, C)
    total = np.bincount(token, minlength=size)[:, None].astype(float)  # (V, 1)
    idf = 1 + np.log((len(texts) + 1) / (total + 1))
    if problem == "regression":
        return counts / (total + PRIOR_TEXTS) * idf
    prior = (targets.sum(axis=0) + 1) / (len(texts) + 2)  # (C,), never 0 or 1
    present, absent = counts + PRIOR_TEXTS * prior, total - counts + PRIOR_TEXTS * (1 - prior)
    ratios = np.log(present * (1 - prior) / (absent * prior))
    return np.where(total > 0, ratios * idf, 0)


def letter_evidence(
    texts: Sequence[Array],
    targets: Array,
    tokenizer: PreTrainedTokenizer,
    problem: str = "single_label_classification",
) -> Array:
    """Return how much the letters of each piece speak for each class (V, C).

        L[w, c] = a / (n(w) + a) · mean of M[g, c] over the n-grams g of w

    The n-grams of piece w are its substrings of one to four letters, and M[g] is their evidence,
    see `class_evidence`: a text contains the n-grams of its pieces. n(w) is the number of texts
    with w, and a is `PRIOR_TEXTS`. So a piece that hardly any text contains says what its letters
    say, and a frequent piece what its own counts say. Bojanowski et al. (2017), section 3.2, make
    the vectors of rare words of those of their n-grams.

    Args:
        texts: S arrays of distinct pieces.
        targets (S, C): as in `class_evidence`.
        tokenizer: spells the pieces.
        problem: as in `BertConfig.problem_type`.

    Returns:
        L (V, C), float64; 0 for a piece that no text contains.
    """
    pieces, counts = np.unique(np.concatenate([np.zeros(0, int), *texts]), return_counts=True)
    ids: dict[str, int] = {}  # of the n-grams
    grams = {}  # of each piece
    for piece, token in zip(pieces, tokenizer.convert_ids_to_tokens(pieces.tolist()), strict=True):
        found = _ngrams(token.removeprefix(tokenizer.vocabulary.prefix) or token)
        grams[piece] = np.array([ids.setdefault(gram, len(ids)) for gram in found], int)
    sets = [_union([grams[piece] for piece in text]) for text in texts]
    evidence = class_evidence(sets, targets, len(ids), problem)  # (G, C)
    out = np.zeros((len(tokenizer), evidence.shape[1]))
    for piece, count in zip(pieces, counts, strict=True):
        out[piece] = PRIOR_TEXTS / (count + PRIOR_TEXTS) * evidence[grams[piece]].mean(axis=0)
    return out


def _ngrams(letters: str) -> list[str]:
    """Return the different substrings of one to `MAX_LETTERS` letters, sorted."""
    return sorted(
        {
            letters[start : start + n]
            for n in range(1, MAX_LETTERS + 1)
            for start in range(len(letters) - n + 1)
        }
    )


def _union(arrays: Sequence[Array]) -> Array:
    """Return the distinct numbers of arrays of ids, sorted."""
    return np.unique(np.concatenate([np.zeros(0, int), *arrays]))
