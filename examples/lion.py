"""Lion: each parameter moves by the sign of an average of gradients.

    c = β₁ m + (1 - β₁) g,   p ← p - η (sign(c) + λ p),   m ← β₂ m + (1 - β₂) g

Chen et al. (2023), algorithm 2. An optimizer has `step`, `jobs`, `state` and `load`; give it to a
run as `pretrain(..., optimizer=lambda model, settings: Lion(model.params))`.
"""

from functools import partial

import numpy as np

from minibert.optim.base import load_arrays, pieces, spans


class Lion:
    """Lion on the flat parameter vector, with one moment instead of AdamW's two."""

    def __init__(self, params, *, betas=(0.9, 0.99), weight_decay=0.1):
        self.params, self.betas, self.weight_decay = params, betas, weight_decay
        self.moment = np.zeros_like(params.vector)
        self.step = 0
        self.spans = list(spans(params, {}))

    def jobs(self, gradient, rate, scale=1.0):
        """Begin one update; return its independent parts."""
        self.step += 1
        return [partial(self._update, piece, gradient, rate, scale) for piece in pieces(self.spans)]

    def _update(self, piece, gradient, rate, scale):
        """Update one piece of the vector."""
        p, m = self.params.vector[piece.where], self.moment[piece.where]
        g, (beta1, beta2) = gradient[piece.where] * scale, self.betas
        decay = self.weight_decay if piece.decays else 0.0
        p -= rate * (np.sign(beta1 * m + (1 - beta1) * g) + decay * p)
        m += (1 - beta2) * (g - m)

    def state(self):
        """Return the moment."""
        return {"moment": self.moment}

    def load(self, state):
        """Read the moment; refuse one of another shape."""
        load_arrays(self, self.state(), state)
