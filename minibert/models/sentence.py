"""A sentence encoder: a body, pooling and normalization, with the backward through all three."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from numpy.typing import ArrayLike

from minibert.models.bert import BertBased
from minibert.models.body import BodyCache
from minibert.models.pooling import (
    NormalizeCache,
    cls_pooling_backward,
    cls_pooling_forward,
    first_token,
    mean_pooling_backward,
    mean_pooling_forward,
    normalize_backward,
    normalize_forward,
)
from minibert.parameters import Parameters, Views
from minibert.typing import Array, Rng

TrainablePooling = Literal["mean", "cls"]


class SentenceCache(NamedTuple):
    """What `SentenceEncoder.backward` needs."""

    body: BodyCache
    weights: Array | None  # (B, T) of the mean; None: [CLS] was pooled
    norm: NormalizeCache | None


class SentenceEncoder:
    """Maps sequences to one vector each, and the vectors' gradient to that of the body.

    It has no parameters of its own: those of the model are trained in place, and freezing, dropout
    and gradient checkpointing are the model's.

    >>> from minibert import BertConfig, BertModel
    >>> encoder = SentenceEncoder(BertModel(BertConfig.preset("tiny", vocab_size=50)))
    >>> batch = {"input_ids": [[2, 7, 9, 3], [2, 8, 3, 0]],
    ...          "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]]}
    >>> vectors, cache = encoder.forward(batch)
    >>> grads = encoder.params.zeros_like()
    >>> encoder.backward(2 * vectors, cache, grads)  # of the sum of the squares
    >>> vectors.shape, bool(grads.vector.any())
    ((2, 128), True)

    Args:
        model: a model of any family. A head or a pooler is not used and gets no gradient.
        pooling: `mean` over the tokens, [CLS] and [SEP] included; or `cls`, the vector of [CLS].
        normalize: scale each vector to length 1.

    Raises:
        ValueError: the pooling is unknown.
    """

    def __init__(
        self, model: BertBased, pooling: TrainablePooling = "mean", normalize: bool = False
    ):
        if pooling not in get_args(TrainablePooling):
            raise ValueError(f"pooling: expected mean or cls, got {pooling!r}")
        self.model, self.pooling, self.normalize = model, pooling, normalize

    @property
    def params(self) -> Parameters:
        """The parameters of the model."""
        return self.model.params

    def forward(
        self, batch: Mapping[str, ArrayLike], rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, SentenceCache]:
        """Return the vectors (B, D) of a batch, and the cache.

        Args:
            batch: `input_ids`, `token_type_ids`, `attention_mask` as in a call of the model.
            rng: of the dropout; None: no dropout.
            keep: False: no backward follows.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range, which is named.
        """
        model = self.model
        checked = model.check(**batch)
        mask = checked.attention_mask
        rows = first_token(mask) if self.pooling == "cls" else None
        scope = model.params.scope(model.prefix)
        x, body = model.bert.forward(scope, checked, rows, rng, keep)  # (B, T, D) or (B, 1, D)
        weights = None
        if rows is None:
            vectors, weights = mean_pooling_forward(x, mask)
        else:
            vectors = cls_pooling_forward(x)
        norm = None
        if self.normalize:
            vectors, norm = normalize_forward(vectors)
        return vectors, SentenceCache(body, weights, norm)

    def backward(self, dvectors: Array, cache: SentenceCache, grads: Views) -> None:
        """Gradient of `forward`, given dvectors (B, D); adds into `grads`."""
        model = self.model
        learning = grads.without(model.frozen_names) if model.frozen_names else grads
        if cache.norm is not None:
            dvectors = normalize_backward(dvectors, cache.norm)
        if cache.weights is not None:
            dx = mean_pooling_backward(dvectors, cache.weights)
        else:
            dx = cls_pooling_backward(dvectors)
        scopes = (views.scope(model.prefix) for views in (model.params, learning))
        model.bert.backward(dx, cache.body, *scopes)
