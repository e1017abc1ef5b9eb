"""Prediction without padding: the tokens of texts of different lengths in one array.

Linear maps, activations, norms and residuals treat each token by itself, so they run over the
tokens of all texts at once, x (1, N, D). Only attention has to know where a text ends: it runs on
the texts of one length after those of another. Nothing is padding, so a product of matrices may be
large without it, and BLAS, which reads and rearranges the weights in every product, does so less
often. 1,000 sentences take a tenth less time than with padding; in batches of one length each,
which need none of this, 1 to 4 % less.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from minibert.functional import attention_forward
from minibert.layers import Site
from minibert.models.bert import BertBased
from minibert.models.inputs import Batch
from minibert.typing import Array

Shapes = list[tuple[int, ...]]  # of each batch: B and T, or B and R


def runs_unpadded(model: BertBased) -> bool:
    """Return whether nothing in a model needs x (B, T, D): a caller's part, or a relative bias."""
    positions = model.bert.encoder.positions
    return not (model.parts.given() or (positions is not None and positions.adds_scores))


def logits_of(model: Any, batches: Sequence[Mapping[str, Array]]) -> list[Array]:
    """Return the logits of each batch, as the model's head makes them, without dropout.

    Args:
        model: a model with a head.
        batches: as in `hidden_states_of`, but not checked.

    Raises:
        TypeError, ValueError: as a call of the model.
    """
    checked = [model.check(**batch) for batch in batches]
    rows, last = [model.rows_read(batch) for batch in checked], model.config.num_blocks
    if not runs_unpadded(model):
        return [model.predict(batch, at) for batch, at in zip(checked, rows, strict=True)]
    states = hidden_states_of(model, checked, {last}, None if rows[0] is None else rows)
    return [model.head_forward(found[last])[0] for found in states]


def hidden_states_of(
    model: BertBased,
    batches: Sequence[Batch],
    numbers: Collection[int],
    rows: Sequence[Array] | None = None,
) -> list[dict[int, Array]]:
    """Return hidden states of each batch by number, as `BertBased.hidden_states` does.

    Args:
        model: unless it runs unpadded, its batches are computed one after the other.
        batches: checked, of (B, T), each of its own B and T; without padding if it does.
        numbers: 0 for the embeddings, 1 to L for the blocks.
        rows: of each batch (B, R), R <= T, the only tokens to compute in the last block; None: all.
    """
    if not runs_unpadded(model):
        at = repeat(None, len(batches)) if rows is None else rows
        pairs = zip(batches, at, strict=True)
        return [model.hidden_states(batch, numbers, each) for batch, each in pairs]
    params, encoder = model.params.scope(model.prefix), model.bert.encoder
    embeddings, scope = model.bert.embeddings, params.scope("embeddings.")
    x = _join([embeddings.forward(scope, each.input_ids, each.token_type_ids)[0]
               for each in batches])[None]  # (B, T, D) each -> (1, N, D)  # fmt: skip
    whole: Shapes = [each.input_ids.shape for each in batches]
    asked: Shapes = whole if rows is None else [each.shape for each in rows]
    numbering = np.arange(x.shape[1])
    positions = _join([np.broadcast_to(np.arange(T), (B, T)) for B, T in whole])  # (N,)
    flat = None  # (1, Q), `rows` as numbers of the N tokens
    if rows is not None:
        inside = zip(_cut(numbering, whole), rows, strict=True)  # (B, T), (B, R)
        flat = _join([np.take_along_axis(each, at, axis=1) for each, at in inside])[None]
    states: dict[int, Array] = dict.fromkeys(numbers, np.empty(0))
    if 0 in states:
        states[0] = x
    site = Site(positions, rows=flat, attend=partial(_attend, whole, asked))
    encoder.forward(params.scope("encoder."), x, site, keep=False, states=states)
    last = len(encoder.blocks)
    cut = [_cut(x[0], asked if number == last else whole) for number, x in states.items()]
    return [dict(zip(states, each, strict=True)) for each in zip(*cut, strict=True)]


def _attend(
    whole: Shapes, asked: Shapes, query: Array, key: Array, value: Array, *_: Any,
    each: Any = None, at: Array | None = None,
) -> tuple[Array, None]:  # fmt: skip
    """Attend inside each batch, as `attention_forward` does for one.

    Args:
        whole: B and T of each batch.
        asked: B and R of each batch.
        query (1, K, N, H): of all tokens; in a trimmed block (1, K, Q, H), of those asked.
        key (1, K, N, H), value (1, K, N, H): of all tokens.
        each: attends inside a batch, given positions (B, R) and heads; None: `attention_forward`.
        at (Q,): positions of the queries for `each`; None: those of all tokens.
    """
    # Since R <= T in each batch, Q is N only if nothing is trimmed.
    queries = whole if query.shape[2] == key.shape[2] else asked
    heads = [
        _heads(x[0].transpose(1, 0, 2), shapes)  # (1, K, N, H) -> (N, K, H)
        for x, shapes in ((query, queries), (key, whole), (value, whole))
    ]
    places = repeat(None, len(whole)) if at is None else _cut(at, queries)
    attend = each or (lambda at, *arguments: attention_forward(*arguments))
    outs = [
        attend(own, q, k, v, None, None, 0.0, None, False)[0]
        for own, q, k, v in zip(places, *heads, strict=True)
    ]
    out = _join([own.transpose(0, 2, 1, 3) for own in outs])  # (B, K, R, H) each -> (Q, K, H)
    return out.transpose(1, 0, 2)[None], None  # (Q, K, H) -> (1, K, Q, H)


def _heads(tokens: Array, shapes: Shapes) -> list[Array]:
    """Cut tokens (N, K, H) into the heads of each batch, (B, K, T, H)."""
    return [each.transpose(0, 2, 1, 3) for each in _cut(tokens, shapes)]


def _join(arrays: list[Array]) -> Array:
    """Put the tokens of arrays (B, T, ...) one after the other, (N, ...)."""
    return np.concatenate([each.reshape(-1, *each.shape[2:]) for each in arrays])


def _cut(tokens: Array, shapes: Shapes) -> list[Array]:
    """Undo `_join` without a copy: tokens (N, ...) -> (B, T, ...) for each of the shapes."""
    ends = np.cumsum([B * T for B, T in shapes])
    parts = zip(np.split(tokens, ends[:-1]), shapes, strict=True)
    return [part.reshape(*shape, *tokens.shape[1:]) for part, shape in parts]
