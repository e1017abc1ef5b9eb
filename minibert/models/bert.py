"""The body that all models share, and BertModel: the body alone, text to vectors."""

from dataclasses import dataclass

import numpy as np

from minibert.functional import padding_bias
from minibert.layers import Embeddings, Encoder, EncoderBlock, LeanBlock, Pooler, RecomputedBlock
from minibert.models.checkpoints import PreTrained
from minibert.parameters import prefixed


class Bert:
    """Embeddings and encoder: ids in, a vector for each token out.

    Args:
        config: the model's `BertConfig`.  block: the class of the encoder's blocks.
        frozen: how many of the lowest blocks don't learn, nor the embeddings; None: all learn.
            What doesn't learn computes as in prediction, without dropout.
    """

    def __init__(self, config, block=EncoderBlock, frozen=None):
        self.embeddings, self.frozen = Embeddings(config), frozen
        self.encoder = Encoder(config, block, frozen or 0, LeanBlock)

    def shapes(self):
        """Return the shapes of both parts."""
        return {
            **prefixed("embeddings.", self.embeddings.shapes()),
            **prefixed("encoder.", self.encoder.shapes()),
        }

    def steps(self, params, batch, rng=None, rows=None):
        """Yield the embeddings and then each block's output, each with its cache.

        Args:
            params: in the body's scope.
            batch: a checked `Batch`.
            rng: of the dropout; None: off.
            rows: (B, R), the only tokens to compute in the last block; None: all.
        """
        x, cache = self.embeddings.forward(
            params.scope("embeddings."),
            batch.input_ids,
            batch.token_type_ids,
            rng if self.frozen is None else None,
        )
        yield x, cache
        bias = padding_bias(batch.attention_mask, x.dtype)
        yield from self.encoder.steps(params.scope("encoder."), x, bias, rng, rows)

    def forward(self, params, batch, rng=None, rows=None):
        """Run all steps and keep their caches: returns x (B, T, D), or (B, R, D), and the cache."""
        outputs, caches = zip(*self.steps(params, batch, rng, rows), strict=True)
        return outputs[-1], caches

    def backward(self, dx, cache, params, grads):
        """Gradient of `forward`; adds into `grads`."""
        embeddings_cache, *block_caches = cache
        dx = self.encoder.backward(
            dx, block_caches, params.scope("encoder."), grads.scope("encoder.")
        )
        if self.frozen is None:
            self.embeddings.backward(
                dx, embeddings_cache, params.scope("embeddings."), grads.scope("embeddings.")
            )


@dataclass(frozen=True)
class ModelOutput:
    """What a call of a model returns: what it computes, None for what was not asked for.

    Attributes:
        loss: if labels were given.
        last_hidden_state: (B, T, D), a vector for each token.
        pooler_output: (B, D), a vector for each sequence.
        logits: a head's scores before the softmax; their shape depends on the head.
        prediction_logits, seq_relationship_logits: (B, T, V) and (B, 2), of pre-training's heads.
        start_logits, end_logits: (B, T) each, of question answering.
        hidden_states: the embeddings and each block's output, L + 1 times (B, T, D).
        attentions: each block's attention weights, L times (B, K, T, T): row t says what share of
            each token's value the head adds to token t; `mean(axis=1)` averages the heads.
    """

    loss: float | None = None
    last_hidden_state: np.ndarray | None = None
    pooler_output: np.ndarray | None = None
    logits: np.ndarray | None = None
    prediction_logits: np.ndarray | None = None
    seq_relationship_logits: np.ndarray | None = None
    start_logits: np.ndarray | None = None
    end_logits: np.ndarray | None = None
    hidden_states: tuple[np.ndarray, ...] | None = None
    attentions: tuple[np.ndarray, ...] | None = None


class BertBased(PreTrained):
    """A model with a BERT body, whose parameters stand under `prefix`."""

    prefix = "bert."

    def build(self) -> None:
        """Make the body, and its twin for predicting; a head makes its own layers beside them."""
        self.bert, self.lean = Bert(self.config), Bert(self.config, LeanBlock)
        self.block: type[EncoderBlock] = EncoderBlock  # how `self.bert` was made
        self.frozen: int | None = None

    def gradient_checkpointing_enable(self) -> None:
        """Train with less memory and a third more time: see `layers.RecomputedBlock`."""
        self.block = RecomputedBlock
        self.bert = Bert(self.config, self.block, self.frozen)

    def freeze(self, layers: int | None) -> None:
        """Train neither the embeddings nor the first `layers` blocks; None: train all.

        Their gradients stay 0, nothing is kept for them and the way back ends above them, which
        saves their share of the memory and most of their time: with 3 of 6 blocks frozen, 100 texts
        took 22 seconds instead of 32. They compute without dropout.

        Raises:
            ValueError: there are not so many blocks.
        """
        if layers is not None and not 0 <= layers <= self.config.num_hidden_layers:
            raise ValueError(
                f"freeze: expected 0 to {self.config.num_hidden_layers} layers, got {layers}"
            )
        self.frozen = layers
        self.bert = Bert(self.config, self.block, layers)

    def depths(self) -> dict[str, int]:
        """Return how far up each parameter works: 0 the embeddings, 1 to L a block, L + 1 above."""
        embeddings, layer = self.prefix + "embeddings.", self.prefix + "encoder.layer."

        def depth(name):
            if name.startswith(layer):
                return 1 + int(name.removeprefix(layer).partition(".")[0])
            return 0 if name.startswith(embeddings) else self.config.num_hidden_layers + 1

        return {name: depth(name) for name in self.params}

    def shapes(self):
        """Return the body's shapes; a head adds its own."""
        return prefixed(self.prefix, self.bert.shapes())

    def constants(self):
        """Return the table of sinusoidal positions, if that is what the model has."""
        table = self.bert.embeddings.sinusoids
        name = self.prefix + "embeddings.position_embeddings.weight"
        return {} if table is None else {name: table.astype(self.params.vector.dtype)}

    def body_forward(self, batch, rows, rng):
        """Run the body for training: returns x (..., R, D), and the cache.

        A batch of (..., T) is run as one of (B, T), and x gets its axes back.
        """
        params = self.params.scope(self.prefix)
        x, cache = self.bert.forward(params, batch.sequences(), rng, rows)
        return _unfolded(x, batch), cache

    def body_backward(self, dx, cache, grads):
        """Gradient of `body_forward`; adds into `grads`."""
        dx = dx.reshape(-1, *dx.shape[-2:])  # (..., R, D) -> (B, R, D)
        self.bert.backward(dx, cache, self.params.scope(self.prefix), grads.scope(self.prefix))

    def steps(self, batch, rows=None):
        """Yield what the body's parts make of a checked batch, without dropout; as `Bert.steps`."""
        params = self.params.scope(self.prefix)
        return self.lean.steps(params, batch.sequences(), rows=rows)

    def encode(self, batch, *, hidden_states=False, attentions=False, rows=None):
        """Run the body for prediction, without dropout, keeping only what is asked for.

        Returns:
            x (..., T, D), or (..., R, D) with `rows`, and the `ModelOutput` fields asked for.
        """
        kept_states, kept_weights = [], []
        x = None
        for i, (x, cache) in enumerate(self.steps(batch, rows=rows)):
            if hidden_states:
                kept_states.append(x)
            if attentions and i:  # step 0 is the embeddings
                kept_weights.append(self.lean.encoder.blocks[i - 1].attention_weights(cache))
        return _unfolded(x, batch), {
            "hidden_states": tuple(kept_states) if hidden_states else None,
            "attentions": tuple(kept_weights) if attentions else None,
        }


def _unfolded(x, batch):
    """Give x (B, R, D) the axes that the batch has before T: (..., R, D)."""
    return x.reshape(*batch.input_ids.shape[:-1], *x.shape[1:])


class BertModel(BertBased):
    """BERT without a head: `last_hidden_state` for each token, `pooler_output` for the sequence.

    >>> from minibert import BertConfig
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=100))
    >>> out = model([[2, 17, 54, 3]])
    >>> out.last_hidden_state.shape, out.pooler_output.shape
    ((1, 4, 128), (1, 128))
    """

    prefix = ""

    def build(self):
        """Make the body and the pooler."""
        super().build()
        self.pooler = Pooler(self.config.hidden_size)

    def shapes(self):
        """Return the shapes of the body and the pooler."""
        return {**super().shapes(), **self.pooler.shapes()}

    def forward(self, batch, rows=None, rng=None):
        """Run body and pooler for training: returns (x (B, T, D), pooled (B, D)), and the cache.

        With `rows`, x is (B, R, D) and the pooler reads the first of the rows.
        """
        x, body_cache = self.body_forward(batch, rows, rng)
        pooled, pooler_cache = self.pooler.forward(self.params, x)
        return (x, pooled), (body_cache, pooler_cache)

    def backward(self, douts, cache, grads):
        """Gradient of `forward`, given (dx, dpooled); adds into `grads`."""
        (dx, dpooled), (body_cache, pooler_cache) = douts, cache
        dx = dx + self.pooler.backward(dpooled, pooler_cache, self.params, grads)
        self.body_backward(dx, body_cache, grads)

    def __call__(
        self,
        input_ids,
        token_type_ids=None,
        attention_mask=None,
        *,
        output_hidden_states=False,
        output_attentions=False,
    ):
        """Compute the vectors of a batch, without dropout.

        Args:
            input_ids: (B, T), from 0 to V - 1.
            token_type_ids: (B, T), the segments; None: all 0.
            attention_mask: (B, T), 1 for a token, 0 for padding; None: all 1.
            output_hidden_states, output_attentions: return these too.

        Returns:
            a `ModelOutput`.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range; it says which.
        """
        batch = self.check(input_ids, token_type_ids, attention_mask)
        x, extras = self.encode(
            batch, hidden_states=output_hidden_states, attentions=output_attentions
        )
        pooled, _ = self.pooler.forward(self.params, x)
        return ModelOutput(last_hidden_state=x, pooler_output=pooled, **extras)
