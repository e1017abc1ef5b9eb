"""A new head: for each token, whether another one was put in its place (ELECTRA's discriminator).

    logit = linear(gelu(linear(x))),   D -> D -> 1, binary cross-entropy

Clark et al. (2020), section 2. A head has specs, forward and backward; a task model makes it,
checks its labels and names its loss function.
"""

from minibert.functional import (
    activate_backward,
    activate_forward,
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
)
from minibert.layers import Linear
from minibert.models import BertWithHead
from minibert.models.heads import match_numbers
from minibert.specs import merged


class ReplacedTokensHead:
    """One logit for each token, (..., D) -> (...)."""

    def __init__(self, width):
        self.dense = Linear("discriminator.dense", width, width)
        self.score = Linear("discriminator.score", width, 1)

    def specs(self):
        """Return the declarations of both maps."""
        return merged(self, self.dense.specs(), self.score.specs())

    def forward(self, params, x, rng=None):
        """Return logits (...) for tokens x (..., D), and the cache."""
        z, rows = self.dense.forward(params, x.reshape(-1, x.shape[-1]))  # (..., D) -> (M, D)
        active, slope = activate_forward(z, None, "gelu")
        logits, _ = self.score.forward(params, active)  # (M, D) -> (M, 1)
        return logits.reshape(x.shape[:-1]), (rows, active, slope)

    def backward(self, dlogits, cache, params, grads):
        """Gradient of `forward`: dx (..., D)."""
        rows, active, slope = cache
        dactive = self.score.backward(dlogits.reshape(-1, 1), active, params, grads)
        dx = self.dense.backward(activate_backward(dactive, slope), rows, params, grads)
        return dx.reshape(*dlogits.shape, -1)  # (M, D) -> (..., D)


class BertForReplacedTokens(BertWithHead):
    """Logits (B, T); the labels are (B, T), 1 where a token was replaced, -100 to ignore it."""

    def build(self, **parts):
        """Make the body and the head."""
        super().build(**parts)
        self.head = ReplacedTokensHead(self.config.hidden_size)

    def match(self, batch, labels):
        """Return the labels (B, T)."""
        return match_numbers("labels", labels, batch.input_ids.shape)

    criterion_forward = staticmethod(binary_cross_entropy_forward)
    criterion_backward = staticmethod(binary_cross_entropy_backward)
