"""An objective in two phases: a question is to be nearer to its answer than to all others.

    loss = -(1/n) Σ_i log( exp(q_i · a_i / τ) / Σ_j exp(q_i · a_j / τ) )

Henderson et al. (2017), section 4.4; q and a are pooled vectors of length 1. Σ_j needs all shards.
"""

import numpy as np

from minibert.functional import cross_entropy_backward, cross_entropy_forward
from minibert.objectives import Objective


class InBatchNegatives(Objective):
    """Contrasts pairs of texts; a shard is (questions, answers), two batches of n texts."""

    two_phase = True

    def __init__(self, model, shards_at, temperature=0.05):
        self.model, self.shards, self.temperature = model, shards_at, temperature

    def count(self, shard):
        """Return the number of pairs."""
        return len(shard[0]["input_ids"])

    def tokens(self, shard):
        """Return the number of tokens."""
        return sum(batch["attention_mask"].sum() for batch in shard)

    def first(self, shard, rng):
        """Return the vectors of questions and answers, (n, D) each, without caches."""
        return [self._vectors(batch, rng)[0] for batch in shard]

    def between(self, parts):
        """Return for each shard all vectors and where its own begin."""
        questions, answers = (np.concatenate(side) for side in zip(*parts, strict=True))
        scores = questions @ answers.T / self.temperature  # (B, D) @ (D, B) -> (B, B)
        starts = np.cumsum([0, *(len(own) for own, _ in parts)])
        return [(questions, answers, scores, start) for start in starts[:-1]]

    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        """Return the loss of this shard's questions; add the gradient of its vectors."""
        questions, answers, scores, start = extra
        own, labels = slice(start, start + self.count(shard)), np.arange(len(scores))
        loss, _ = cross_entropy_forward(scores[own], labels[own], denominator)
        dscores = cross_entropy_backward(cross_entropy_forward(scores, labels, denominator)[1])
        dscores /= self.temperature
        dvectors = dscores[own] @ answers, dscores[:, own].T @ questions  # (n, B) @ (B, D)
        for batch, dvector in zip(shard, dvectors, strict=True):
            vector, (length, x, cache) = self._vectors(batch, rng)
            # vector = pooled / length: the part of its gradient along itself changes nothing.
            dpooled = (dvector - vector * (vector * dvector).sum(-1, keepdims=True)) / length
            self.model.backward((np.zeros_like(x), dpooled), cache, grads)
        return loss

    def _vectors(self, batch, rng):
        """Return the pooled vectors of a batch scaled to length 1, and what the backward needs."""
        (x, pooled), cache = self.model.forward(self.model.check(**batch), None, rng)
        length = np.linalg.norm(pooled, axis=-1, keepdims=True)
        return pooled / length, (length, x, cache)
