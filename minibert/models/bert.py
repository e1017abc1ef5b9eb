"""What all BERT models share, and BertModel: the body and the pooler."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from minibert.functional import AttentionCache
from minibert.layers import (
    Block,
    Embeddings,
    Encoder,
    FeedForward,
    Layer,
    LayerNorm,
    LearnedPositions,
    Pooler,
    Residual,
    SelfAttention,
    SinusoidalPositions,
    frozen,
    recomputed,
    unwrapped,
)
from minibert.models.body import Bert
from minibert.models.checkpoints import PreTrained
from minibert.models.config import BertConfig
from minibert.models.inputs import Batch
from minibert.models.parts import Parts, try_part
from minibert.parameters import Views
from minibert.specs import Spec, merged, prefixed
from minibert.typing import Array, Rng


def bert_embeddings(config: BertConfig) -> Embeddings:
    """Return the embeddings of a BERT: words, learned or sinusoidal positions, segments."""
    sinusoidal = config.position_embedding_type == "sinusoidal"
    table = SinusoidalPositions if sinusoidal else LearnedPositions
    return Embeddings(
        config.vocab_size,
        config.hidden_size,
        config.type_vocab_size,
        table(config.max_position_embeddings, config.hidden_size),
        config.pad_token_id,
        config.layer_norm_eps,
        config.hidden_dropout_prob,
    )


def bert_block(config: BertConfig) -> Block:
    """Return a block of a BERT: attention and feed-forward, both with post-norm."""
    width, eps, rate = config.hidden_size, config.layer_norm_eps, config.hidden_dropout_prob
    attention = SelfAttention(
        "attention", width, config.num_attention_heads, config.attention_probs_dropout_prob
    )
    feed_forward = FeedForward(width, config.intermediate_size, config.hidden_act)
    return Block(
        Residual(attention, LayerNorm("attention.output.LayerNorm", width, eps), rate),
        Residual(feed_forward, LayerNorm("output.LayerNorm", width, eps), rate),
    )


@dataclass(frozen=True)
class ModelOutput:
    """The result of calling a model; fields that were not asked for are None.

    Attributes:
        loss: if labels were given.
        last_hidden_state (B, T, D): a vector for each token.
        pooler_output (B, D): a vector for each sequence.
        logits: before the softmax; their shape depends on the head.
        prediction_logits (B, T, V), seq_relationship_logits (B, 2): of pre-training's heads.
        start_logits (B, T), end_logits (B, T): of question answering.
        hidden_states: the embeddings and each block's output, L + 1 times (B, T, D).
        attentions: each block's attention weights, L times (B, K, T, T): row t has the share of
            each token's value in what the head adds to token t; `mean(axis=1)` averages the heads.
    """

    loss: float | None = None
    last_hidden_state: Array | None = None
    pooler_output: Array | None = None
    logits: Array | None = None
    prediction_logits: Array | None = None
    seq_relationship_logits: Array | None = None
    start_logits: Array | None = None
    end_logits: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


class BertBased(PreTrained):
    """A model with a BERT body, whose parameters' names begin with `prefix`."""

    prefix = "bert."

    def build(self, **parts: Any) -> None:
        """Make the body, from the caller's parts where there are any.

        Raises:
            TypeError, ValueError: a part that is not one; the message names its class.
        """
        self.parts = Parts(**parts)
        self.frozen: int | None = None
        config, count = self.config, self.config.num_hidden_layers
        block: Callable[[BertConfig], Layer] = self.parts.block or bert_block
        if self.parts.block is not None:
            try_part("block", block(config), config.hidden_size)
        if self.parts.encoder is None:
            positions = None if self.parts.positions is None else self.parts.positions(config)
            encoder = Encoder([block(config) for _ in range(count)], positions=positions)
        else:
            encoder = self.parts.encoder(config)
        self.bert = Bert((self.parts.embeddings or bert_embeddings)(config), encoder)

    @classmethod
    def sharing(cls, model: "BertBased") -> Self:
        """Return a model of this class over another's configuration, parts and parameters.

        The other's parameters may be more than this class declares: they have the same names.
        """
        return cls(model.config, params=model.params, **model.parts.given())

    def gradient_checkpointing_enable(self) -> None:
        """Train with less memory and a third more time: see `layers.Recomputed`."""
        self.bert.encoder.blocks = [recomputed(block) for block in self.bert.encoder.blocks]

    def gradient_checkpointing_disable(self) -> None:
        """Keep every block's cache again."""
        self.bert.encoder.blocks = [
            recomputed(block, wanted=False) for block in self.bert.encoder.blocks
        ]

    def freeze(self, layers: int | None) -> None:
        """Train neither the embeddings nor the first `layers` blocks; None: train all.

        Their gradients stay 0, nothing is kept for them and the backward ends above them, which
        saves their share of the memory and most of their time: with 3 of 6 blocks frozen, 100 texts
        took 22 seconds instead of 32. They compute without dropout.

        Raises:
            ValueError: the model has fewer blocks.
        """
        count = self.config.num_hidden_layers
        if layers is not None and not 0 <= layers <= count:
            raise ValueError(f"freeze: expected 0 to {count} layers, got {layers}")
        encoder, lowest = self.bert.encoder, -1 if layers is None else layers
        encoder.blocks = [frozen(block, i < lowest) for i, block in enumerate(encoder.blocks)]
        self.bert.embeddings_learn, self.frozen = layers is None, layers
        self.frozen_names = frozenset(
            name for name, depth in self.depths().items() if depth <= lowest
        )

    def depths(self) -> dict[str, int]:
        """Return the depth of each parameter: 0 the embeddings, 1 to L a block, L + 1 above."""
        top = self.config.num_hidden_layers + 1
        specs = self.params.specs.items()
        return {name: top if spec.depth is None else spec.depth for name, spec in specs}

    def specs(self) -> dict[str, Spec]:
        """Return the body's declarations; a head adds its own."""
        return prefixed(self.prefix, self.bert.specs())

    def constants(self) -> dict[str, Array]:
        """Return the tables that are parameters in other programs, such as sinusoidal positions."""
        scope, dtype = self.prefix + "embeddings.", self.params.vector.dtype
        tables = self.bert.embeddings.constants()
        return {scope + name: table.astype(dtype) for name, table in tables.items()}

    def hidden_states(
        self, batch: Batch, numbers: "set[int] | range", rows: Array | None = None
    ) -> dict[int, Array]:
        """Return hidden states of a checked batch by number, without dropout.

        Args:
            batch: of (B, T).
            numbers: 0 for the embeddings, 1 to L for the blocks.
            rows (B, R): the only tokens to compute in the last block; None: all.
        """
        states: dict[int, Array] = dict.fromkeys(numbers, np.empty(0))
        params = self.params.scope(self.prefix)
        self.bert.forward(params, batch, rows, keep=False, states=states)
        return states

    def encode(
        self,
        batch: Batch,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
        rows: Array | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Run the body for prediction, without dropout, keeping only what is asked for.

        Returns:
            x (..., T, D), or (..., R, D) with `rows`, and the `ModelOutput` fields asked for.
        """
        numbers = range(self.config.num_hidden_layers + 1)
        states = dict.fromkeys(numbers, np.empty(0)) if hidden_states else None
        body = self._unwrapped_body() if attentions else self.bert
        params = self.params.scope(self.prefix)
        x, cache = body.forward(params, batch, rows, keep=attentions, states=states)
        weights = map(attention_weights, cache.encoder.blocks) if attentions else None
        return x, {
            "hidden_states": None if states is None else tuple(states.values()),
            "attentions": None if weights is None else tuple(weights),
        }

    def _unwrapped_body(self) -> Bert:
        """Return the body with blocks that keep their caches, neither frozen nor recomputed."""
        encoder = self.bert.encoder
        blocks = [unwrapped(block) for block in encoder.blocks]
        return Bert(self.bert.embeddings, Encoder(blocks, encoder.scopes, encoder.positions))


def attention_weights(cache: Any) -> Array:
    """Return the attention weights (B, K, R, T) in a block's cache, before dropout.

    Raises:
        ValueError: there is no `AttentionCache` in it.
    """
    found = _attention_cache(cache)
    if found is None:
        raise ValueError(f"attentions: expected an AttentionCache in {type(cache).__name__}")
    return found.weights


def _attention_cache(cache: Any) -> AttentionCache | None:
    if isinstance(cache, AttentionCache):
        return cache
    parts = cache if isinstance(cache, tuple) else ()
    return next((found for part in parts if (found := _attention_cache(part))), None)


class BertModel(BertBased):
    """BERT without a head: `last_hidden_state` for each token, `pooler_output` for the sequence.

    >>> from minibert import BertConfig
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=100))
    >>> out = model([[2, 17, 54, 3]])
    >>> out.last_hidden_state.shape, out.pooler_output.shape
    ((1, 4, 128), (1, 128))
    """

    prefix = ""

    def build(self, **parts: Any) -> None:
        """Make the body and the pooler."""
        super().build(**parts)
        self.pooler = Pooler("pooler.dense", self.config.hidden_size)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the body and the pooler."""
        return merged(self, super().specs(), self.pooler.specs())

    def forward(
        self, batch: Batch, rows: Array | None = None, rng: Rng | None = None
    ) -> tuple[tuple[Array, Array], Any]:
        """Run body and pooler: (x (B, T, D), pooled (B, D)), and the cache.

        With `rows`, x is (B, R, D) and the pooler reads the first of them.
        """
        x, body_cache = self.bert.forward(self.params, batch, rows, rng)
        pooled, pooler_cache = self.pooler.forward(self.params, x)
        return (x, pooled), (body_cache, pooler_cache)

    def backward(self, douts: tuple[Array, Array], cache: Any, grads: Views) -> None:
        """Gradient of `forward`, given (dx, dpooled); adds into `grads`."""
        (dx, dpooled), (body_cache, pooler_cache) = douts, cache
        dx = dx + self.pooler.backward(dpooled, pooler_cache, self.params, grads)
        self.bert.backward(dx, body_cache, self.params, grads)

    def __call__(
        self,
        input_ids: ArrayLike,
        token_type_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> ModelOutput:
        """Compute the vectors of a batch, without dropout.

        Args:
            input_ids (B, T): from 0 to V - 1.
            token_type_ids (B, T): the segments; None: all 0.
            attention_mask (B, T): 1 for a token, 0 for padding; None: all 1.
            output_hidden_states: return the hidden states too.
            output_attentions: return the attention weights too.

        Returns:
            a `ModelOutput`.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range, which is named.
        """
        batch = self.check(input_ids, token_type_ids, attention_mask)
        x, extras = self.encode(
            batch, hidden_states=output_hidden_states, attentions=output_attentions
        )
        pooled, _ = self.pooler.forward(self.params, x)
        return ModelOutput(last_hidden_state=x, pooler_output=pooled, **extras)
