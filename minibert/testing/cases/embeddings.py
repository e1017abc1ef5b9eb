"""Cases of sentence vectors: pooling, normalization, the losses, and encoders of whole models."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from minibert.gradcheck import check_pair
from minibert.models import pooling
from minibert.models.bert import BertBased
from minibert.models.families.modernbert import ModernBertModel
from minibert.models.sentence import SentenceEncoder, TrainablePooling
from minibert.objectives import embedding_losses as losses
from minibert.parameters import Parameters, Views
from minibert.specs import Specs
from minibert.testing.cases.examples import BATCH, CONFIG, MASK, MODERN_CONFIG, B, C, D, T
from minibert.testing.cases.helpers import layer_case, new_params
from minibert.testing.cases.records import Case, dropout_rng, normal
from minibert.typing import Array

LABELS = np.array([2, 0, 2, 1, 0, 2, 3])  # (C,); the labels 1 and 3 occur once


def vector_cases() -> Iterator[Case]:
    """Yield a case for each function on vectors."""
    yield from _pooling_cases()
    yield from _ranking_cases()
    yield from _pair_cases()
    yield from _contrastive_cases()


def _case(
    subject: str,
    variant: str,
    forward: Any,
    backward: Any,
    zeros: tuple[str, ...] = (),
    **inputs: Any,
) -> Case:
    """Return the case of a forward, and of a backward called with the cotangent and the cache."""

    def call(dout: Any, cache: Any, **_: Any) -> Any:
        return backward(dout, cache)

    return Case(subject, variant, partial(check_pair, forward, call, inputs, zeros=zeros))


def _scaled(backward: Any) -> Any:
    """Return a backward of a loss for any cotangent, from one for the cotangent 1."""

    def call(dloss: Any, cache: Any) -> Any:
        found = backward(cache)
        if isinstance(found, tuple):
            return tuple(dloss * each for each in found)
        return dloss * found

    return call


def _pooling_cases() -> Iterator[Case]:
    for variant, mask in (("", np.ones((B, T), int)), ("padding", MASK)):
        yield _case(
            "mean_pooling", variant,
            partial(pooling.mean_pooling_forward, mask=mask), pooling.mean_pooling_backward,
            x=normal(B, T, D),
        )  # fmt: skip
    yield _case(
        "cls_pooling", "",
        lambda x: (pooling.cls_pooling_forward(x), None),
        lambda dout, cache: pooling.cls_pooling_backward(dout),
        x=normal(B, 1, D),
    )  # fmt: skip
    for variant, scale in (("", 1.0), ("short vectors", 1e-3), ("long vectors", 1e3)):
        yield _case(
            "normalize", variant, pooling.normalize_forward, pooling.normalize_backward,
            x=scale * normal(T, D),
        )  # fmt: skip


def _ranking_cases() -> Iterator[Case]:
    anchors, answers, wrong = (normal(T, D, seed=seed) for seed in range(3))
    excluded = np.zeros((T, T), bool)
    excluded[[0, 2, 2, 5], [3, 0, 2, 4]] = True  # (2, 2) is a right candidate, which stays
    everything = np.ones((T, T), bool)
    for variant, candidates, temperature, excluded_pairs, n in (
        ("", answers, 0.5, None, None),
        ("a temperature of 0.05", answers, 0.05, None, None),
        ("further negatives", np.concatenate([answers, wrong]), 0.5, None, None),
        ("excluded pairs", answers, 0.5, excluded, None),
        ("a part of a batch", answers, 0.5, None, 9),
        ("all negatives excluded", answers, 0.5, everything, None),
    ):
        yield _case(
            "ranking", variant,
            partial(losses.ranking_forward, temperature=temperature, excluded=excluded_pairs,
                    denominator=n),
            _scaled(losses.ranking_backward),
            zeros=("anchors", "candidates") if excluded_pairs is everything else (),
            anchors=anchors, candidates=candidates,
        )  # fmt: skip


def _pair_cases() -> Iterator[Case]:
    first, second, third = (normal(T, D, seed=seed) for seed in range(3))
    scores = np.linspace(-0.5, 1, T)
    for variant, n in (("", None), ("a part of a batch", 9)):
        yield _case(
            "cosine_scores", variant,
            partial(losses.cosine_scores_forward, scores=scores, denominator=n),
            _scaled(losses.cosine_scores_backward),
            first=first, second=second,
        )  # fmt: skip
    kinds: tuple[tuple[str, losses.Distance, float, int | None], ...] = (
        ("euclidean", "euclidean", 5.0, None),
        ("euclidean, some without loss", "euclidean", 0.3, None),
        ("cosine", "cosine", 2.5, None),
        ("cosine, some without loss, a part of a batch", "cosine", 0.1, 9),
    )
    for variant, distance, margin, n in kinds:
        yield _case(
            "triplet", variant,
            partial(losses.triplet_forward, margin=margin, distance=distance, denominator=n),
            _scaled(losses.triplet_backward),
            anchors=first, positives=second, negatives=third,
        )  # fmt: skip


def _contrastive_cases() -> Iterator[Case]:
    for variant, labels, temperature, n in (
        ("", LABELS, 0.5, None),
        ("a temperature of 0.05", LABELS, 0.05, None),
        ("a part of a batch", LABELS, 0.5, 9),
        ("no equal labels", np.arange(C), 0.5, None),
    ):
        yield _case(
            "contrastive", variant,
            partial(losses.contrastive_forward, labels=labels, temperature=temperature,
                    denominator=n),
            _scaled(losses.contrastive_backward),
            zeros=("vectors",) if variant == "no equal labels" else (),
            vectors=normal(C, D),
        )  # fmt: skip


class EncodedTexts:
    """A sentence encoder as a layer without input, because ids have no gradient.

    Args:
        encoder: of a model whose parameters are replaced.
        dropout: whether there is dropout.
    """

    def __init__(self, encoder: SentenceEncoder, dropout: bool = False):
        self.encoder, self.dropout = encoder, dropout

    def specs(self) -> Specs:
        """Return the declarations of the model."""
        return self.encoder.model.specs()

    def forward(self, params: Parameters) -> tuple[Array, Any]:
        """Encode the batch."""
        return self._with(params).forward(BATCH, dropout_rng() if self.dropout else None)

    def backward(self, dout: Array, cache: Any, params: Parameters, grads: Views) -> tuple[()]:
        """Run the encoder's backward; there are no input gradients."""
        self._with(params).backward(dout, cache, grads)
        return ()

    def _with(self, params: Parameters) -> SentenceEncoder:
        """Return the encoder over other parameters."""
        model = self.encoder.model
        other = type(model).sharing(model)
        other.freeze(model.frozen)
        other.params = params
        return SentenceEncoder(other, self.encoder.pooling, self.encoder.normalize)


def encoder_cases() -> Iterator[Case]:
    """Yield a case for each way to encode texts."""
    kinds: tuple[tuple[str, TrainablePooling, bool, bool, int | None], ...] = (
        ("mean", "mean", False, False, None),
        ("mean, normalized, dropout", "mean", True, True, None),
        ("cls, normalized, dropout", "cls", True, True, None),
        ("mean, normalized, one frozen block", "mean", True, False, 1),
    )
    for variant, pool, normalize, dropout, frozen in kinds:
        yield _encoder_case(BertBased(CONFIG), variant, pool, normalize, dropout, frozen)
    modern = ModernBertModel(MODERN_CONFIG)
    yield _encoder_case(modern, "a ModernBERT, mean", "mean", False, False, None)


def _encoder_case(
    model: Any,
    variant: str,
    pool: TrainablePooling,
    normalize: bool,
    dropout: bool,
    frozen: int | None,
) -> Case:
    model.freeze(frozen)
    still = [name for name, depth in model.depths().items() if depth <= (frozen or -1)]
    return layer_case(
        EncodedTexts(SentenceEncoder(model, pool, normalize), dropout),
        variant,
        subject="SentenceEncoder",
        params=new_params(model.specs()),
        entries=4,
        still=still,
    )
