"""The start of training from the counts of the text, instead of from random numbers alone.

A new model spends most of a short run on what counting finds in seconds: how frequent each token
is, which tokens have similar neighbours or occur in the same texts, and that neighbours matter. So
this is written into its weights before the first step. The model remains an ordinary BERT, and
every weight is trained.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from minibert.data.rng import generator
from minibert.functional import sinusoidal_positions
from minibert.io.number_files import Numbers
from minibert.layers.embeddings import POSITIONS, WORDS
from minibert.models import PreTrained
from minibert.models.replaced_tokens import GeneratorAndDiscriminator
from minibert.objectives.base import quiet
from minibert.runtime.blas import one_blas_thread
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array, Rng

WINDOW = 2  # tokens on each side that are counted as neighbours
MAX_COUNTS = 2**25  # numbers in the table of counts, 128 MiB in float32
MAX_TOKENS = 4_000_000  # that are counted, in blocks spread evenly over the text
BLOCK = 50_000  # tokens
PAIRS_AT_ONCE = 2**23  # of tokens, counted together
SMOOTHING = 0.75  # exponent of the neighbours' frequencies
OVERSAMPLING, POWER_ITERATIONS = 16, 2  # of the randomized decomposition
BIAS = "cls.predictions.bias"  # of the logits, (V,)
TRANSFORM = "cls.predictions.transform.dense.weight"  # (E, D), below them; in a BERT E is D
PROJECT = "embeddings.project.weight"  # (D, E), above narrow tables


@one_blas_thread()  # the bits depend on BLAS's threads
@quiet()
def initialize_from_text(
    model: PreTrained, stream: Numbers, tokenizer: PreTrainedTokenizer, seed: int = 0
) -> None:
    """Set the initial weights of a masked-LM model from the counts of its training text, in place.

    The word embeddings become those of `count_embeddings`, the bias of the logits the logarithm of
    the tokens' frequencies, and the identity is added to the map below the logits, so that a vector
    near that of a word predicts it; so it is to the map from narrow tables to the blocks, as far as
    both have columns. Learned positions become sinusoids, and the heads of every block begin by
    attending to a neighbour: see `attend_to_neighbours`. A part that the model does not have is
    left out. The standard deviation of the embeddings is that of the configuration. A generator
    gets its discriminator's embeddings, which it shares, and the bias of its logits.

    Args:
        model: a new model.
        stream (N,), int: the ids of the training text.
        tokenizer: the model's tokenizer.
        seed: of the random draws.
    """
    if isinstance(model, GeneratorAndDiscriminator):
        initialize_from_text(model.discriminator, stream, tokenizer, seed)
        bias = model.generator.params[BIAS]
        bias[:] = log_frequencies(_sample(stream), len(bias))
        return
    params, std = model.params, model.config.initializer_range
    ids = _sample(stream)
    rng = generator(seed, "initialization")
    for name in params.specs:
        if name.endswith(WORDS):
            size, width = params[name].shape
            # A token that never occurs begins with 0, because a random vector would be noise: tiny,
            # 390 of whose 8,192 tokens did not occur, [MASK] among them, had after 250 steps a
            # held-out loss of 5.044 with random ones and 4.821 with 0.
            params[name][:], _ = scaled(count_embeddings(ids, size, width, rng), std)
            params[name][tokenizer.pad_token_id] = 0
        elif name.endswith(POSITIONS):
            length, width = params[name].shape
            even = width // 2 * 2  # the last column of an odd width stays random
            # The base is the length of the longest text, because slower waves are constant in it.
            table = sinusoidal_positions(length, even, base=length)
            params[name][:, :even] = table * math.sqrt(2) * std
            attend_to_neighbours(model)
        elif name == TRANSFORM or name.endswith(PROJECT):
            square = params[name][: params[name].shape[1], : params[name].shape[0]]
            square[np.diag_indices(len(square))] += 1
        elif name == BIAS:
            params[name][:] = log_frequencies(ids, len(params[name]))


def log_frequencies(ids: Array, size: int) -> Array:
    """Return the logarithms of the frequencies of V tokens in a text (N,), with the mean 0, (V,).

    >>> log_frequencies(np.array([1, 1, 1]), 2).round(2)
    array([-0.69,  0.69])
    """
    logs = np.log(1.0 + np.bincount(ids, minlength=size))
    return np.asarray(logs - logs.mean())


def count_embeddings(ids: Array, size: int, width: int, rng: Rng) -> Array:
    """Return a vector for each token, such that tokens with similar neighbours are similar.

        M[w, c] = max(0, log(P(w, c) / (P(w) P_α(c)))) ≈ U Σ Cᵀ,   E = U √Σ R

    M is the positive pointwise mutual information of a token w and a token c at most two places
    away, with P_α(c) ∝ count(c)^0.75; only the most frequent tokens are used as c. R is a random
    rotation. Levy, Goldberg and Dagan (2015), "Improving distributional similarity with lessons
    learned from word embeddings", sections 2 and 3; the decomposition is that of Halko, Martinsson
    and Tropp (2011), algorithms 4.4 and 5.1.

    Args:
        ids (N,), int: a text.
        size: V, the number of tokens.
        width: D.
        rng: random generator.

    Returns:
        E (V, D), float32; the vector of a token without neighbours is 0.
    """
    column = _columns(np.bincount(ids, minlength=size))
    return _factors(_mutual_information(_count([_pairs(ids)], column)), width, rng)


def text_embeddings(texts: Sequence[Array], size: int, width: int, rng: Rng) -> Array:
    """Return a vector for each token, such that tokens of the same texts are similar.

    As `count_embeddings`, but P(w, c) is the probability of two different tokens of one text. This
    is nearer to latent semantic analysis (Deerwester et al., 1990), which decomposes the counts of
    the tokens in each text; so the vectors tell subjects and languages apart.

    Args:
        texts: S arrays of distinct token ids.
        size: V, the number of tokens.
        width: D.
        rng: random generator.

    Returns:
        E (V, D), float32; the vector of a token that no text contains is 0.
    """
    column = _columns(np.bincount(np.concatenate([np.zeros(0, int), *texts]), minlength=size))
    return _factors(_mutual_information(_count(map(_pairs_within, texts), column)), width, rng)


def _factors(table: Array, width: int, rng: Rng) -> Array:
    """Return U √Σ R (V, D) of a table (V, C); see `count_embeddings`."""
    rank = min(width + OVERSAMPLING, *table.shape)
    basis = rng.normal(size=(table.shape[1], rank)).astype(np.float32)  # (C, k)
    for _ in range(POWER_ITERATIONS):
        left, _ = np.linalg.qr(table @ basis)  # (V, C) @ (C, k) -> (V, k)
        basis, _ = np.linalg.qr(table.T @ left)  # (C, V) @ (V, k) -> (C, k)
    left, values, _ = np.linalg.svd(table @ basis, full_matrices=False)  # (V, k), (k,)
    kept = min(width, rank)
    rotation, _ = np.linalg.qr(rng.normal(size=(width, width)))  # (D, D)
    vectors = left[:, :kept] * np.sqrt(values[:kept])
    # (V, d) @ (d, D) -> (V, D)
    return np.asarray(vectors @ rotation[:kept].astype(np.float32))


def _columns(occurrences: Array) -> Array:
    """Return the column of each token in the table of counts (V,); -1: it is too rare for one."""
    size = len(occurrences)
    frequent = np.argsort(-occurrences, kind="stable")[: max(MAX_COUNTS // size, 1)]  # (C,)
    column = np.full(size, -1)
    column[frequent] = np.arange(len(frequent))
    return column


def _count(groups: Iterable[Iterable[tuple[Array, Array]]], column: Array) -> Array:
    """Return how often each token is paired with each frequent one, (V, C), float32.

    Args:
        groups: pairs of arrays (n,): tokens, and the token that each of them is paired with.
        column (V,): of `_columns`.
    """
    size, width = len(column), int(column.max()) + 1
    counts = np.zeros(size * width, np.float32)
    codes: list[Array] = []
    waiting = 0
    for word, near in chain.from_iterable(groups):
        known = column[near] >= 0
        codes.append(word[known] * width + column[near][known])
        waiting += len(codes[-1])
        if waiting >= PAIRS_AT_ONCE:
            counts += np.bincount(np.concatenate(codes), minlength=len(counts))
            codes, waiting = [], 0
    if codes:
        counts += np.bincount(np.concatenate(codes), minlength=len(counts))
    return counts.reshape(size, width)  # (V·C,) -> (V, C)


def _mutual_information(table: Array) -> Array:
    """Return the positive mutual information of tokens and frequent ones, (V, C), in place."""
    words = table.sum(axis=1, dtype=np.float64)  # (V,)
    neighbours = table.sum(axis=0, dtype=np.float64) ** SMOOTHING  # (C,)
    neighbours /= max(neighbours.sum(), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.log(table, out=table)  # -∞ where a pair never occurs
        table -= np.log(words).astype(np.float32)[:, None]
        table -= np.log(neighbours).astype(np.float32)
    return np.maximum(np.nan_to_num(table, copy=False, nan=0.0, neginf=0.0), 0, out=table)


def _pairs(ids: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the tokens (n,) and those at each distance of the window, before and after (n,)."""
    for distance in range(1, WINDOW + 1):
        yield ids[:-distance], ids[distance:]
        yield ids[distance:], ids[:-distance]


def _pairs_within(ids: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the tokens (n²-n,) of a text of n different ones, and another token for each."""
    word, near = np.repeat(ids, len(ids)), np.tile(ids, len(ids))  # (n²,)
    yield word[different := word != near], near[different]


def scaled(vectors: Array, std: float) -> tuple[Array, Array]:
    """Return vectors (V, D) of the usual length std √D or 0, and which are not 0 (V,)."""
    # In float64, because the squares of what should be 0 underflow.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)  # (V,)
    known = lengths > 1e-6 * max(float(lengths.max(initial=0)), 1e-30)
    scale = np.where(known, std * math.sqrt(vectors.shape[1]) / np.where(known, lengths, 1), 0)
    return vectors * scale[:, None], known


def attend_to_neighbours(model: PreTrained) -> None:
    """Let each head of a model with sinusoidal positions begin by attending to one neighbour.

    With the frequencies ω_f = T^(-2f/D) of the positions, a rotation by δ ω_f takes the sine and
    cosine of position t to those of t + δ. So if a head's key copies some of the pairs, and its
    query copies and rotates them, then their product is

        q_t · k_s = Σ_f cos(ω_f (t + δ - s)) + noise,

    which is largest at s = t + δ. The heads take δ = -1, 1, -2, 2 and so on, each with its own
    share of the frequencies. Trockman and Kolter (2023), "Mimetic initialization of self-attention
    layers", begin with correlated queries and keys too.

    Args:
        model: a model whose learned positions are `sinusoidal_positions` with the base T; those of
            narrow tables are its first units.
    """
    heads = model.config.num_attention_heads
    length, width = next(a.shape for n, a in model.params.items() if n.endswith(POSITIONS))
    even = min(width, model.config.hidden_size) // 2 * 2
    frequencies = float(length) ** (-np.arange(0, even, 2) / max(even, 1))  # ω (D/2,)
    for name, weight in model.params.items():
        role = name.rpartition("self.")[2]
        if role not in ("query.weight", "key.weight"):
            continue
        maps = weight.reshape(heads, -1, weight.shape[1])  # (D, D) -> (K, H, D)
        for k, head in enumerate(maps):
            shift = (k // 2 + 1) * (1 if k % 2 else -1) if role == "query.weight" else 0
            for i in range(len(head) // 2):
                f = i * heads + k  # this head's i-th frequency
                if f >= len(frequencies):
                    break
                sine, cosine = np.sin(shift * frequencies[f]), np.cos(shift * frequencies[f])
                pair = slice(2 * i, 2 * i + 2), slice(2 * f, 2 * f + 2)
                head[pair] += [[cosine, sine], [-sine, cosine]]


def _sample(stream: Numbers) -> Array:
    """Return at most `MAX_TOKENS` ids of a text, in blocks spread evenly over it."""
    if len(stream) <= MAX_TOKENS:
        return np.asarray(stream, np.int64)
    starts = np.linspace(0, len(stream) - BLOCK, MAX_TOKENS // BLOCK).astype(int)
    return np.concatenate([stream[start : start + BLOCK] for start in starts]).astype(np.int64)
