"""What all BERT models share, and BertModel: the body and the pooler."""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from minibert.layers import Encoder, Head, Layer, Pooler, frozen, recomputed, unwrapped
from minibert.models.body import Bert
from minibert.models.checkpoints import PreTrained
from minibert.models.compose import bert_block, bert_embeddings
from minibert.models.config import BertConfig
from minibert.models.inputs import Batch
from minibert.models.output import ModelOutput, attention_weights
from minibert.models.parts import Parts, require_methods, try_block
from minibert.models.resize import resized
from minibert.parameters import Parameters, Views
from minibert.specs import Spec, merged, prefixed
from minibert.typing import Array, Rng


class BertBased(PreTrained):
    """A model with a BERT body, whose parameters' names begin with `prefix`.

    Attributes:
        head: maps tokens to logits; None: there is no head.
        pooler: of the body's output; None: the body has none of its own.
        predicts_tokens: whether the logits are over the vocabulary.
    """

    head: Head | None = None
    pooler: Pooler | None = None
    predicts_tokens = False
    prefix = "bert."
    label_names: tuple[str, ...] = ()  # of a call

    def build(self, **parts: Any) -> None:
        """Make the body, from the caller's parts where there are any.

        Raises:
            TypeError, ValueError: a part that is not one; the message names its class.
        """
        self.parts = Parts(**parts)
        self.frozen: int | None = None
        config = self.config
        made = {field: make(config) for field, make in self.parts.given().items()}
        for field, part in made.items():
            require_methods(field, part)
        if "block" in made:
            try_block(made["block"], config.hidden_size)
        encoder = made.get("encoder")
        if encoder is None:
            make_block: Callable[[BertConfig], Layer] = self.parts.block or bert_block
            blocks = [make_block(config) for _ in range(config.num_hidden_layers)]
            encoder = Encoder(blocks, positions=made.get("positions"))
        self.bert = Bert(made.get("embeddings") or bert_embeddings(config), encoder)

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

    def resize_token_embeddings(self, new_num_tokens: int) -> None:
        """Add or cut rows of the word embeddings, in place; so of the tied decoder and its bias.

        A tokenizer with added tokens needs `len(tokenizer)` rows. A new row is the mean of the
        others, and so is a new bias. An optimizer of the old parameters is of no use afterwards.

        >>> from minibert import BertConfig
        >>> model = BertModel(BertConfig.preset("tiny", vocab_size=100))
        >>> model.resize_token_embeddings(102)
        >>> model.config.vocab_size, model.params["embeddings.word_embeddings.weight"].shape
        (102, (102, 128))

        Args:
            new_num_tokens: V, the new number of tokens.

        Raises:
            ValueError: the number is below 1, or the padding token would be cut.
        """
        self._resize(vocab_size=new_num_tokens)

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Keep the first positions only, in place: the model then reads fewer tokens.

        Args:
            new_num_position_embeddings: the new number of positions.

        Raises:
            ValueError: the number is below 1, or the model has fewer positions.
        """
        most = self.config.max_position_embeddings
        if new_num_position_embeddings > most:
            raise ValueError(
                f"new_num_position_embeddings: expected at most {most}, the model's positions, got "
                f"{new_num_position_embeddings}"
            )
        self._resize(max_position_embeddings=new_num_position_embeddings)

    def _resize(self, **sizes: Any) -> None:
        """Give the embeddings and the head other sizes; the encoder stays as it is."""
        config = replace(self.config, **sizes)
        made = type(self)(config, params=Parameters({}), **self.parts.given())
        self.params = resized(self.params, made.specs())
        self.config, self.head, self.bert.embeddings = config, made.head, made.bert.embeddings

    def freeze(self, layers: int | None) -> None:
        """Train neither the embeddings nor the first `layers` blocks; None: train all.

        Their gradients stay 0, nothing is kept for them and the backward ends above them, which
        saves their share of the memory and most of their time: with 3 of 6 blocks frozen, 100 texts
        took 22 seconds instead of 32. They compute without dropout.

        Raises:
            ValueError: the model has fewer blocks.
        """
        count = self.config.num_blocks
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
        top = self.config.num_blocks + 1
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
        self, batch: Batch, numbers: Collection[int], rows: Array | None = None
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
        numbers = range(self.config.num_blocks + 1)
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
        encoder = copy.copy(self.bert.encoder)
        encoder.blocks = [unwrapped(block) for block in encoder.blocks]
        return Bert(self.bert.embeddings, encoder)

    def __call__(
        self,
        input_ids: ArrayLike,
        token_type_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **labels: ArrayLike | None,
    ) -> ModelOutput:
        """Compute the model's outputs for a batch, without dropout; with labels, the loss too.

        Args:
            input_ids (B, T): from 0 to V - 1.
            token_type_ids (B, T): the segments; None: all 0.
            attention_mask (B, T): 1 for a token, 0 for padding; None: all 1.
            output_hidden_states: return the hidden states too.
            output_attentions: return the attention weights too.
            labels: under the names `label_names`, as in `loss_and_grads`; None or missing: no loss.

        Returns:
            a `ModelOutput`.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range, which is named.
        """
        given = self._labels_of_call(labels)
        batch = self.check(input_ids, token_type_ids, attention_mask)
        # The last block may be trimmed only if all of its output is not asked for.
        whole = output_hidden_states or output_attentions
        x, extras = self.encode(
            batch,
            hidden_states=output_hidden_states,
            attentions=output_attentions,
            rows=None if whole else self.rows_read(batch),
        )
        return ModelOutput(**self.finish(batch, x, given), **extras)

    def rows_read(self, batch: Batch) -> Array | None:
        """Return the tokens (B, R) of the body's output that are read; None: all."""
        return None

    def finish(self, batch: Batch, x: Array, labels: Any) -> dict[str, Any]:
        """Return the fields of a call's `ModelOutput` that depend on x (..., R, D)."""
        return {"last_hidden_state": x}

    def _labels_of_call(self, labels: Mapping[str, ArrayLike | None]) -> Any:
        """Return the labels of a call in the form of `loss_and_grads`; None: there are none."""
        given = {name: value for name, value in labels.items() if value is not None}
        if not labels.keys() <= set(self.label_names) or 0 < len(given) < len(self.label_names):
            expected = " and ".join(self.label_names) or "none"
            raise TypeError(f"labels: expected {expected}, got {', '.join(labels)}")
        if not given:
            return None
        return given if len(self.label_names) > 1 else given["labels"]


class BertModel(BertBased):
    """BERT without a head: `last_hidden_state` for each token, `pooler_output` for the sequence.

    >>> from minibert import BertConfig
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=100))
    >>> out = model([[2, 17, 54, 3]])
    >>> out.last_hidden_state.shape, out.pooler_output.shape
    ((1, 4, 128), (1, 128))
    """

    pooler: Pooler
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

    def finish(self, batch: Batch, x: Array, labels: Any) -> dict[str, Any]:
        """Return x (B, T, D) and the pooled vectors (B, D)."""
        return {"last_hidden_state": x, "pooler_output": self.pooler.forward(self.params, x)[0]}
