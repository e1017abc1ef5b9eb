"""The start of fine-tuning without a pre-trained model: BERT begins as naive Bayes.

A new model has to learn from a few thousand texts which pieces speak for which class. Counting
finds that in a second, and overfits less than gradients do: with few texts naive Bayes, which
counts, is better than logistic regression, which is trained (Ng and Jordan, 2001). So the counts
are written into the first weights: `[CLS]` begins by averaging the vectors of the text's pieces,
and the classifier reads from the average which class they speak for. The model remains an ordinary
BERT, and every weight is trained.
"""

import math
import sys
from collections.abc import Sequence

import numpy as np

from minibert.data.piece_splits import PieceSplitter
from minibert.data.rng import generator
from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS
from minibert.models import BertForSequenceClassification
from minibert.objectives.base import quiet
from minibert.parameters import Parameters
from minibert.runtime.blas import one_blas_thread
from minibert.tokenization import PreTrainedTokenizer
from minibert.training.evidence import class_evidence, letter_evidence
from minibert.training.initialization import scaled, text_embeddings
from minibert.typing import Array, Rng

MAX_LABELLED_TOKENS = 200_000  # of the labelled texts that are counted, spread evenly over all
READINGS, READING_SPLITS = 8, 0.5  # of a labelled text with random splits; their probability
CONSTANT = 1.0  # length of the part of a vector that all pieces share; that of the others is near 1
SUBJECTS = 0.5  # length of the part that tells of which texts a piece is, not of which classes
GAIN = 4.0  # weight of the average of the pieces beside [CLS]'s own vector
POOLER = 0.5  # factor of the pooler, so that tanh is nearly linear
LOGIT_STD = 2.0  # standard deviation of the logits of the texts
MEASURED = 200  # texts, for that deviation
ROUNDING = 1e-5  # deviation of logits that differ by rounding errors alone


@one_blas_thread()  # the bits depend on BLAS's threads
@quiet()
def initialize_from_labels(
    model: BertForSequenceClassification,
    texts: Sequence[Array],
    labels: Array,
    tokenizer: PreTrainedTokenizer,
    seed: int = 0,
) -> None:
    """Set the initial weights of a model from the texts it is fine-tuned on, in place.

    With the evidence M (V, C) of each piece w for each class, that of the piece itself and of its
    letters, see `training.evidence`, and its factors M ≈ A Cᵀ, the vector of a piece is A_w, and
    the classifier's weights are C. So

        logits ∝ C Σ_w A_w ≈ Σ_w M[w],

    the logits of naive Bayes, if the layers between do nothing else than to add the vectors up:

    - The segment's vector is the same for all pieces and orthogonal to theirs, so that layer norm
      keeps most of their differences in length: without it, a comma would count as much as a word.
      Positions, special tokens and pieces that never occur begin with 0.
    - Each block but the last begins as the identity, because the maps at the end of its two
      sublayers are 0 (Zhang, Dauphin and Ma, 2019, begin residual blocks so).
    - In the last block the queries are 0, so `[CLS]` attends to all tokens alike; values are the
      tokens without the vector of the segment, and are added with the weight `GAIN`.
    - The pooler is `POOLER` times the identity.

    The directions that M does not need contain the vectors of `text_embeddings`. A text counts as
    the set of its pieces, without special tokens. A piece that the tokenizer always reads as part
    of a longer one here has a vector, too: it counts where one of 8 readings with random splits,
    see `data.piece_splits`, contains it.

    Args:
        model: a new model.
        texts: S arrays (T,) of token ids.
        labels: of the texts, as the model learns them: (S,) or (S, C).
        tokenizer: the model's tokenizer.
        seed: of the random draws.
    """
    params, width = model.params, model.config.hidden_size
    if width < 3:  # the directions of the mean, of the constant and of one class
        return
    rng = generator(seed, "initialization")
    tokens = sum(map(len, texts))
    count = min(len(texts), max(MAX_LABELLED_TOKENS * len(texts) // max(tokens, 1), 1))
    chosen = np.linspace(0, len(texts) - 1, count).astype(int)
    texts, targets = [texts[i] for i in chosen], _as_columns(labels, model)[chosen]  # (S, C)
    sets = _sets_of_pieces(texts, tokenizer, rng)
    evidence = class_evidence(sets, targets, len(tokenizer), model.problem)  # (V, C)
    evidence += letter_evidence(sets, targets, tokenizer, model.problem)
    word, classes = _factorize(evidence, width - 2)  # (V, r), (C, r)

    # Layer norm removes the mean of a vector, so nothing is written in that direction.
    draws = np.column_stack([np.ones(width), rng.normal(size=(width, width - 1))])
    _, constant, *basis = np.linalg.qr(draws)[0].T  # (D,), and D - 2 rows (D,)
    rank, unit = word.shape[1], model.config.initializer_range * math.sqrt(width)
    own, rest = np.array(basis[:rank]), np.array(basis[rank:])  # (r, D), (D-2-r, D)
    vectors = unit * _at_mean_length(word) @ own  # (V, r) @ (r, D) -> (V, D)
    if len(rest):
        subjects, _ = scaled(text_embeddings(sets, len(tokenizer), len(rest), rng), 1.0)
        vectors += SUBJECTS * unit * _at_mean_length(subjects) @ rest
    seen = np.zeros(len(vectors), bool)
    seen[np.concatenate(sets)] = True
    vectors[~seen] = 0  # without the rounding errors of the decomposition
    for name, array in params.items():
        if name.endswith(WORDS):
            array[:] = vectors
        elif name.endswith(POSITIONS):
            array[:] = 0
        elif name.endswith(SEGMENTS):
            array[:] = CONSTANT * unit * constant
    _pass_through(params, model.config.num_hidden_layers, constant)

    # The classifier's scale and bias, from the logits of some of the texts.
    params["classifier.weight"][:] = classes @ own  # (C, r) @ (r, D) -> (C, D)
    params["classifier.bias"][:] = 0
    some = np.linspace(0, count - 1, min(MEASURED, count)).astype(int)  # (S',)
    logits = np.concatenate([model(texts[i][None]).logits for i in some])  # (S', C)
    mean = logits.mean(axis=0)
    scale = _scale(logits - mean, targets[some] if model.problem == "regression" else None)
    params["classifier.weight"] *= scale
    params["classifier.bias"][:] = -scale * mean


def _as_columns(labels: Array, model: BertForSequenceClassification) -> Array:
    """Return labels (S,) or (S, C) as targets (S, C)."""
    if model.problem == "single_label_classification":
        return np.eye(model.config.num_labels)[np.asarray(labels, int)]
    return np.asarray(labels, float).reshape(len(labels), -1)


def _sets_of_pieces(
    texts: Sequence[Array], tokenizer: PreTrainedTokenizer, rng: Rng
) -> list[Array]:
    """Return the set of pieces (n,) of each text, sorted, without special tokens."""
    special = set(tokenizer.all_special_ids)
    known = special.union(*(ids.tolist() for ids in texts))
    splitter = PieceSplitter(tokenizer, READING_SPLITS)
    sets = []
    for ids in texts:
        found = set(ids.tolist()) - special
        for _ in range(READINGS):
            parts, _ = splitter.split(ids.tolist(), room=sys.maxsize, rng=rng)
            found.update(set(parts) - known)
        sets.append(np.array(sorted(found), int))
    return sets


def _factorize(table: Array, width: int) -> tuple[Array, Array]:
    """Return A (V, r) and C (C, r) with table (V, C) ≈ A Cᵀ, r at most `width`."""
    left, values, right = np.linalg.svd(table, full_matrices=False)
    root = np.sqrt(values[:width])
    return left[:, :width] * root, right[:width].T * root


def _scale(logits: Array, numbers: Array | None) -> float:
    """Return the factor of logits (S', C) that makes them `LOGIT_STD` wide, or nearest numbers."""
    power = float(np.square(logits).mean())
    if power < ROUNDING**2:  # all texts are alike
        return 0.0
    if numbers is not None:  # least squares
        return float((logits * numbers).mean()) / power
    return LOGIT_STD / math.sqrt(power)


def _at_mean_length(vectors: Array) -> Array:
    """Return vectors (V, d) divided by the root mean square length of those that are not 0."""
    squares = np.square(vectors, dtype=np.float64).sum(axis=1)  # (V,)
    known = squares > 0
    return vectors / math.sqrt(squares[known].mean()) if known.any() else vectors


def _pass_through(params: Parameters, layers: int, constant: Array) -> None:
    """Let the blocks and the pooler begin as `initialize_from_labels` describes."""
    identity = np.eye(len(constant))
    for i in range(layers):
        block = f"bert.encoder.layer.{i}."
        for end in ("attention.output.dense.weight", "output.dense.weight"):
            params[block + end][:] = 0
    last = f"bert.encoder.layer.{layers - 1}.attention."
    params[last + "self.query.weight"][:] = 0
    params[last + "self.value.weight"][:] = identity - np.outer(constant, constant)
    params[last + "output.dense.weight"][:] = GAIN * identity
    params["bert.pooler.dense.weight"][:] = POOLER * identity
