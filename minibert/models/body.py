"""The body that all models share: embeddings and encoder."""

from typing import NamedTuple

import numpy as np

from minibert.functional import padding_mask
from minibert.layers import Embeddings, Encoder, Site
from minibert.layers.embeddings import EmbeddingsCache
from minibert.layers.encoder import EncoderCache
from minibert.models.inputs import Batch
from minibert.parameters import Views
from minibert.specs import Spec, at_depth, merged, prefixed
from minibert.typing import Array, Rng


class BodyCache(NamedTuple):
    """The caches of embeddings and encoder."""

    embeddings: EmbeddingsCache | None  # None: no backward reads it
    encoder: EncoderCache


class Bert:
    """Embeddings and encoder: ids in, a vector for each token out.

    Args:
        embeddings: ids to x (B, T, D).
        encoder: x to x.
    """

    def __init__(self, embeddings: Embeddings, encoder: Encoder):
        self.embeddings, self.encoder = embeddings, encoder
        self.embeddings_learn = True

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of both parts."""
        return merged(
            self,
            prefixed("embeddings.", at_depth(self.embeddings.specs(), 0)),
            prefixed("encoder.", self.encoder.specs()),
        )

    def forward(
        self, params: Views, batch: Batch, rows: Array | None = None, rng: Rng | None = None,
        keep: bool = True, states: dict[int, Array] | None = None,
    ) -> tuple[Array, BodyCache]:  # fmt: skip
        """Run embeddings and encoder.

        Args:
            params: in the body's scope.
            batch: checked, of (..., T), which is run as (B, T).
            rows (B, R): the only tokens to compute in the last block; None: all.
            rng: of the dropout; None: no dropout.
            keep: False: no backward follows.
            states: filled with the hidden states whose numbers are its keys, 0 (the embeddings) to
                L; blocks above the largest are not run. None: all are run.

        Returns:
            x (..., T, D), or (..., R, D) with rows; and the caches of both.
        """
        axes = batch.input_ids.shape[:-1]
        batch = batch.sequences()  # (..., T) -> (B, T)
        embeddings, learn = params.scope("embeddings."), self.embeddings_learn
        cache: EmbeddingsCache | None
        x, cache = self.embeddings.forward(
            embeddings, batch.input_ids, batch.token_type_ids, rng if learn else None
        )
        if not (keep and learn):
            cache = None  # its memory is free while the encoder runs
        if states is not None and 0 in states:
            states[0] = x
        mask = padding_mask(batch.attention_mask, x.dtype)  # (B, 1, 1, T)
        site = Site(np.arange(x.shape[1]), mask, rows)
        scope = params.scope("encoder.")
        x, encoder_cache = self.encoder.forward(scope, x, site, rng, keep, states)
        x = x.reshape(*axes, *x.shape[1:])  # (B, R, D) -> (..., R, D)
        return x, BodyCache(cache, encoder_cache)

    def backward(self, dx: Array, cache: BodyCache, params: Views, grads: Views) -> None:
        """Gradient of `forward`, given dx (..., R, D); adds into `grads`."""
        embeddings_cache, encoder_cache = cache
        dx = dx.reshape(-1, *dx.shape[-2:])  # (..., R, D) -> (B, R, D)
        encoder_params, encoder_grads = params.scope("encoder."), grads.scope("encoder.")
        dbelow = self.encoder.backward(dx, encoder_cache, encoder_params, encoder_grads)
        if dbelow is not None and embeddings_cache is not None:
            embeddings_params, embeddings_grads = (
                views.scope("embeddings.") for views in (params, grads)
            )
            self.embeddings.backward(dbelow, embeddings_cache, embeddings_params, embeddings_grads)
