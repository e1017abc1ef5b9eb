"""Classifiers of texts whose head reads [CLS] or the mean over the tokens, as the config says."""

from typing import Any, NamedTuple

from minibert.functional.embedding import gather_forward
from minibert.models.inputs import Batch
from minibert.models.pooling import first_token, mean_pooling_backward, mean_pooling_forward
from minibert.models.task_model import BertWithHead
from minibert.parameters import Views
from minibert.typing import Array, Rng


def reads_mean(config: Any) -> bool:
    """Return whether a configuration states that a classifier of texts reads the mean.

    >>> from minibert import BertConfig, ModernBertConfig
    >>> reads_mean(BertConfig()), reads_mean(ModernBertConfig(classifier_pooling="mean"))
    (False, True)
    """
    return bool(getattr(config, "classifier_pooling", "cls") == "mean")


class MeanCache(NamedTuple):
    """What `PooledText.backward` needs of a mean: the cache of the body, and the weights (B, T)."""

    body: Any
    weights: Array


class PooledText(BertWithHead):
    """A classifier of texts with `config.classifier_pooling`, `cls` or `mean`.

    The head reads the first token that it is given: [CLS]; or the mean over the tokens that are not
    padding, for which the last block computes all of them.

    Attributes:
        skips_padding: whether [CLS] is the first token that is not padding, instead of the first.
    """

    config: Any
    skips_padding = False

    @property
    def reads_mean(self) -> bool:
        """Whether the head reads the mean over the tokens."""
        return reads_mean(self.config)

    def rows_read(self, batch: Batch) -> Array | None:
        """Return the position of [CLS], (B, 1); None for a mean: all tokens."""
        if self.reads_mean:
            return None
        mask = batch.sequences().attention_mask
        return first_token(mask) if self.skips_padding else super().rows_read(batch)

    def forward(
        self, batch: Batch, rows: Array | None = None, rng: Rng | None = None
    ) -> tuple[Any, Any]:
        """Run body and head: the logits, and the cache."""
        if not self.reads_mean:
            return super().forward(batch, rows, rng)
        x, body = self.bert.forward(self.params.scope(self.prefix), batch, None, rng)
        mean, weights = _mean_forward(batch, x)
        logits, head = self.head_forward(mean, rng)
        return logits, (MeanCache(body, weights), head)

    def backward(self, dlogits: Any, cache: Any, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`."""
        body, head = cache
        if not isinstance(body, MeanCache):
            return super().backward(dlogits, cache, grads)
        dmean = self.head_backward(dlogits, head, grads)  # (..., 1, D)
        # (..., 1, D) -> (B, D) -> (B, T, D)
        dx = mean_pooling_backward(dmean.reshape(-1, dmean.shape[-1]), body.weights)
        scope, own = self.params.scope(self.prefix), grads.scope(self.prefix)
        return self.bert.backward(dx, body.body, scope, own)

    def head_forward(self, x: Array, rng: Rng | None = None) -> tuple[Any, Any]:
        """Return the logits for tokens x (..., R, D) without padding, or their mean, R = 1."""
        if self.reads_mean and x.shape[-2] > 1:
            x = x.mean(axis=-2, keepdims=True)
        return super().head_forward(x, rng)

    def predict(self, batch: Batch, rows: Array | None = None) -> Any:
        """Return the logits of a checked batch, without dropout."""
        if not self.reads_mean:
            return super().predict(batch, rows)
        x, _ = self.bert.forward(self.params.scope(self.prefix), batch, keep=False)
        return self.head_forward(_mean_forward(batch, x)[0])[0]

    def finish(self, batch: Batch, x: Array, labels: Any) -> dict[str, Any]:
        """Return the logits of a call, and the loss if there are labels."""
        rows = self.rows_read(batch)
        if rows is None:
            x, _ = _mean_forward(batch, x)
        elif x.shape[-2] > 1:  # all tokens were computed
            first = gather_forward(x.reshape(-1, *x.shape[-2:]), rows)  # (..., T, D) -> (B, 1, D)
            x = first.reshape(*x.shape[:-2], 1, -1)  # (B, 1, D) -> (..., 1, D)
        return super().finish(batch, x, labels)


def _mean_forward(batch: Batch, x: Array) -> tuple[Array, Array]:
    """Return the mean over the tokens of x (..., T, D), (..., 1, D), and its weights (B, T)."""
    rows = x.reshape(-1, *x.shape[-2:])  # (..., T, D) -> (B, T, D)
    mean, weights = mean_pooling_forward(rows, batch.sequences().attention_mask)
    return mean.reshape(*x.shape[:-2], 1, -1), weights  # (B, D) -> (..., 1, D)
