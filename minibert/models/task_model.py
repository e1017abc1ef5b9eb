"""The task models' base: a body with a head, its loss and its gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minibert.functional import IGNORED, cross_entropy_backward, cross_entropy_forward
from minibert.layers import Head
from minibert.models.bert import BertBased
from minibert.models.inputs import Batch
from minibert.parameters import Parameters, Views
from minibert.specs import Spec, merged
from minibert.typing import Array, Rng

Labels = ArrayLike | Mapping[str, ArrayLike]  # by name, if a head has several


class BertWithHead(BertBased):
    """A body and `self.head`, which maps tokens of its output to logits.

    A subclass makes its head (`build`), says which tokens of the encoder's output the head reads
    (`rows_read`), and checks its labels (`match`). It may have another criterion, that is, a loss
    function of the logits, than cross-entropy.
    """

    head: Head
    label_names: tuple[str, ...] = ("labels",)  # of a call

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the body and the head."""
        return merged(self, super().specs(), self.head.specs())

    def targets(self, batch: Batch, labels: Any) -> tuple[Array | None, Any]:
        """Return the tokens (B, R) that the head reads, None for all, and their labels."""
        return self.rows_read(batch), self.match(batch, labels)

    def match(self, batch: Batch, labels: Any) -> Any:
        """Return the labels as arrays that fit the batch, or raise TypeError or ValueError."""
        raise NotImplementedError

    def count(self, labels: Any) -> Any:
        """Return how many labels count, by which the loss is divided; several if it is a sum."""
        return int((np.asarray(labels) != IGNORED).sum())

    def criterion_forward(
        self, logits: Any, targets: Any, denominator: Any = None
    ) -> tuple[float, Any]:
        """Compare logits with their targets: the loss, and the cache."""
        return cross_entropy_forward(logits, targets, denominator)

    def criterion_backward(self, cache: Any) -> Any:
        """Gradient of `criterion_forward`: dlogits."""
        return cross_entropy_backward(cache)

    def loss_and_grads(
        self,
        batch: Mapping[str, ArrayLike],
        labels: Labels,
        rng: Rng | None = None,
        *,
        grads: Parameters | None = None,
        denominator: ArrayLike | None = None,
    ) -> tuple[float, Parameters]:
        """Compute the loss on a batch, and add its gradient into `grads`.

        The loss is summed over the labels that count and divided by `denominator`. Parts of a batch
        add up to the whole if each is given the whole's denominator.

        Args:
            batch: `input_ids`, `token_type_ids`, `attention_mask` as in a call; (B, T) each.
            labels: integers, -100 where nothing counts; their shape depends on the head.
            rng: of the dropout; None: no dropout.
            grads: of the layout of `self.params`, added to; None: new zeros.
            denominator: as `count` returns it, for the whole of which this batch is a part; None:
                for this batch.

        Returns:
            the loss, and the gradients.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range, which is named.
        """
        if denominator is not None and not np.all(np.asarray(denominator) > 0):
            raise ValueError(f"denominator: expected more than 0, got {denominator}")
        if grads is not None and grads.shapes != self.params.shapes:
            raise ValueError("grads: expected the names and shapes of this model's parameters")
        loss, (loss_cache, cache) = self.loss_forward(batch, labels, rng, denominator)
        grads = self.params.zeros_like() if grads is None else grads
        learning = grads.without(self.frozen_names) if self.frozen_names else grads
        self.backward(self.criterion_backward(loss_cache), cache, learning)
        return loss, grads

    def loss_forward(
        self,
        batch: Mapping[str, ArrayLike],
        labels: Labels,
        rng: Rng | None = None,
        denominator: ArrayLike | None = None,
    ) -> tuple[float, Any]:
        """Return the loss as `loss_and_grads` does, and the cache for its backward half."""
        checked = self.check(**batch)
        rows, targets = self.targets(checked, labels)
        logits, cache = self.forward(checked, rows, rng)
        loss, loss_cache = self.criterion_forward(logits, targets, denominator)
        return loss, (loss_cache, cache)

    def head_forward(self, x: Array, rng: Rng | None = None) -> tuple[Any, Any]:
        """Return the logits for the tokens x (..., R, D), and the cache."""
        return self.head.forward(self.params, x, rng)

    def head_backward(self, dlogits: Any, cache: Any, grads: Views) -> Array:
        """Gradient of `head_forward`: dx (..., R, D); adds into `grads`."""
        return self.head.backward(dlogits, cache, self.params, grads)

    def forward(
        self, batch: Batch, rows: Array | None = None, rng: Rng | None = None
    ) -> tuple[Any, Any]:
        """Run body and head: the logits, and the cache."""
        x, body_cache = self.bert.forward(self.params.scope(self.prefix), batch, rows, rng)
        logits, head_cache = self.head_forward(x, rng)
        return logits, (body_cache, head_cache)

    def backward(self, dlogits: Any, cache: Any, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`, from which frozen parameters are absent."""
        body_cache, head_cache = cache
        dx = self.head_backward(dlogits, head_cache, grads)
        scope = self.params.scope(self.prefix)
        self.bert.backward(dx, body_cache, scope, grads.scope(self.prefix))

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Return the fields of a `ModelOutput` for the logits."""
        return {"logits": logits}

    def predict(self, batch: Batch, rows: Array | None = None) -> Any:
        """Return the logits of a checked batch at tokens `rows` (B, R), without dropout."""
        x, _ = self.bert.forward(self.params.scope(self.prefix), batch, rows, keep=False)
        return self.head_forward(x)[0]

    def finish(self, batch: Batch, x: Array, labels: Any) -> dict[str, Any]:
        """Return the logits of a call, and the loss if there are labels."""
        logits, _ = self.head_forward(x)
        fields = self.outputs(logits)
        if labels is not None:
            fields["loss"], _ = self.criterion_forward(logits, self.match(batch, labels))
        return fields
