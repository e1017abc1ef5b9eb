"""One text's way through a model and back, with all that is computed on it.

The model's own layers do the work: each is wrapped in a `Tap` that notes what goes in and comes
out, forward and backward.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.functional import embedding_forward, softmax_forward
from minibert.kernels import attention_backward
from minibert.models import BertForMaskedLM, BertForTokenClassification, BertModel
from minibert.models.heads import BertWithHead
from minibert.tasks import RegressionTask, task_for
from minibert.tokenization import WordPieceTokenizer

TOP = 5  # guesses for a [MASK]


@dataclass(frozen=True)
class Station:
    """What is computed at one place.

    Attributes:
        name: what it is.
        part: where: "embeddings", "block 1" to "block L", or "head".
        value: of one text, without the axis of the batch.
        gradient: of the score with respect to it, shaped like it; None: not asked for.
    """

    name: str
    part: str
    value: np.ndarray
    gradient: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self.value.shape

    @property
    def norm(self) -> float:
        """The value's length, √Σv²."""
        return float(np.linalg.norm(self.value))

    @property
    def gradient_norm(self) -> float | None:
        """The gradient's length; None: there is no gradient."""
        return None if self.gradient is None else float(np.linalg.norm(self.gradient))


@dataclass(frozen=True)
class Inspection:
    """A text seen from inside a model of L blocks with K heads: T tokens.

    Attributes:
        kind: the model's class.
        text: the text, and its pair.
        tokens, ids: (T,).
        cut: how many tokens didn't fit into the model's positions.
        stations: in the order of the forward pass.
        attentions: (L, K, T, T), row t what token t reads.
        hidden_states: (L + 1, T, D), after the embeddings and after each block.
        said: for each place of which something is said, its name and the likeliest answers.
        score: the name of the score that the gradients are of; "" if there are none.
        saliency: (T,), gradient times input: Σ_d word embedding · gradient, to first order what the
            score would lose without the token's embedding (Shrikumar et al., 2016); None if there
            are no gradients.
    """

    kind: str
    text: str
    tokens: list[str]
    ids: list[int]
    cut: int
    stations: list[Station]
    attentions: np.ndarray
    hidden_states: np.ndarray
    said: list[tuple[str, list[tuple[str, float]]]]
    score: str = ""
    saliency: np.ndarray | None = None

    def similarities(self) -> np.ndarray:
        """Return the cosines between the tokens' vectors, layer by layer: (L + 1, T, T)."""
        states = self.hidden_states
        lengths = np.linalg.norm(states, axis=-1, keepdims=True)
        directions = states / np.where(lengths == 0, 1, lengths)
        return directions @ directions.swapaxes(1, 2)  # (L+1, T, D) @ (L+1, D, T)


@dataclass
class Tap:
    """A layer that notes what passes through it, and is the same layer otherwise.

    Attributes:
        before, after: the input and the output of the last forward pass.
        dbefore, dafter: their gradients, once a backward pass came by.
        cache: of the forward pass.
    """

    layer: Any
    before: Any = None
    after: Any = None
    dbefore: Any = None
    dafter: Any = None
    cache: Any = field(default=None, repr=False)

    def forward(self, params, x, *more):
        """Pass x on, and note it and what comes back."""
        out, cache = self.layer.forward(params, x, *more)
        self.before, self.after, self.cache = np.copy(x), np.copy(out), cache
        return out, cache

    def backward(self, dout, cache, params, grads):
        """Pass the gradient on, and note it and what comes back."""
        dx = self.layer.backward(dout, cache, params, grads)
        self.dafter = np.copy(dout)
        self.dbefore = np.copy(dx[-1] if isinstance(dx, tuple) else dx)
        return dx

    def __getattr__(self, name):
        """Be the layer in everything else."""
        return getattr(self.layer, name)


def inspect_text(
    model: Any,
    tokenizer: WordPieceTokenizer,
    text: str,
    pair: str | None = None,
    *,
    label: str | None = None,
    backward: bool | None = False,
) -> Inspection:
    """Walk a text through a model, and the gradient of one score back.

    The score is a class's, a number, or a word's at the first [MASK], before the softmax; where
    each token has a class, the sum over the tokens.

    Args:
        model: a `BertModel`, or one with a head for [MASK], for texts or for words.
        tokenizer: makes the ids.  text, pair: what to look at.
        label: whose score, a class or a word; None: the likeliest one.
        backward: whether to go back; None: if there is a score to go back from.

    Raises:
        ValueError: there is no score to go back from, or no such class or word.
    """
    longest = model.config.max_position_embeddings
    encoding = tokenizer.encode(text, pair, max_length=longest)
    cut = len(tokenizer.encode(text, pair).input_ids) - len(encoding.input_ids)
    batch = model.check([encoding.input_ids], [encoding.token_type_ids], [encoding.attention_mask])
    twin = type(model)(model.config, params=model.params)
    taps = _tap(twin)
    out, cache = twin.forward(batch)  # the last block for all tokens, whatever the head reads
    logits = out if isinstance(twin, BertWithHead) else None
    if isinstance(logits, tuple):  # of both heads of pre-training; the words' come first
        logits = logits[0]
    masks = np.flatnonzero(batch.input_ids[0] == tokenizer.mask_token_id)
    said = [] if logits is None else list(_said(twin, tokenizer, encoding.tokens, logits, masks))
    score, saliency = "", None
    if backward is None:
        backward = bool(said)
    if backward:
        score, dlogits = _start(twin, tokenizer, logits, masks, label)
        grads = twin.params.zeros_like()
        douts = dlogits if not isinstance(out, tuple) else (dlogits, np.zeros_like(out[1]))
        twin.backward(douts, cache, grads)
        words = twin.params[f"{twin.prefix}embeddings.word_embeddings.weight"]
        gradient = taps["embeddings"]["norm"].dbefore[0]  # (T, D); a sum, so each summand's too
        saliency = (words[batch.input_ids[0]] * gradient).sum(axis=-1)
    stations = [
        *_embedding_stations(twin, batch, taps["embeddings"]["norm"]),
        *(station for name, own in taps.items() if name.startswith("block")
          for station in _block_stations(name, own)),
        *_head_stations(twin, taps["head"], logits, dlogits if backward else None),
    ]  # fmt: skip
    blocks = [own for name, own in taps.items() if name.startswith("block")]
    states = [taps["embeddings"]["norm"].after, *(own["norm"].after for own in blocks)]
    return Inspection(
        kind=type(model).__name__,
        text=text if pair is None else f"{text} | {pair}",
        tokens=encoding.tokens,
        ids=encoding.input_ids,
        cut=cut,
        stations=stations,
        attentions=np.stack([own["attention"].cache[0][0][0] for own in blocks]),
        hidden_states=np.concatenate(states),
        said=said,
        score=score,
        saliency=saliency,
    )


def _tap(model) -> dict[str, dict[str, Tap]]:
    """Put taps into a model's layers; returns them by their places."""

    def tap(layer, *names):
        taps = {name: Tap(getattr(layer, name)) for name in names}
        for name, made in taps.items():
            setattr(layer, name, made)
        return taps

    taps = {"embeddings": tap(model.bert.embeddings, "norm")}
    for i, block in enumerate(model.bert.encoder.blocks, start=1):
        inner = tap(block.attention, "output") | tap(block.feed_forward, "widen", "narrow")
        outer = tap(block, "attention", "attention_norm", "feed_forward", "norm")
        taps[f"block {i}"] = inner | outer
    head = model if isinstance(model, BertModel) else getattr(model, "head", None)
    inside = ("pooler", "dense", "norm")
    names = [name for name in inside if hasattr(head, name)] if head is not None else []
    taps["head"] = tap(head, *names) if names else {}
    return taps


def _station(name, part, value, gradient=None):
    return Station(name, part, value[0], None if gradient is None else gradient[0])


def _embedding_stations(model, batch, norm) -> Iterator[Station]:
    """Yield the three summands, their sum, and that normalised."""
    params, layer = model.params.scope(model.prefix).scope("embeddings."), model.bert.embeddings
    words, _ = embedding_forward(batch.input_ids, params["word_embeddings.weight"])
    types, _ = embedding_forward(batch.token_type_ids, params["token_type_embeddings.weight"])
    positions = layer.position_rows(params, words.shape[1], words.dtype)[None]
    for name, value in (("word", words), ("position", positions), ("segment", types)):
        yield _station(f"{name} embedding", "embeddings", value, norm.dbefore)
    yield _station("their sum", "embeddings", norm.before, norm.dbefore)
    yield _station("normalised", "embeddings", norm.after, norm.dafter)


def _block_stations(part, taps) -> Iterator[Station]:
    """Yield what a block computes, in its order."""
    attention, output = taps["attention"], taps["output"]
    inside = attention.cache[0]  # of `attention_forward`: weights, mask, query, key, value
    roles = dict.fromkeys(("query", "key", "value"))
    dweights = None
    if output.dbefore is not None:
        _, _, query, _, value = inside
        B, K, R, H = query.shape
        # (B, R, D) -> (B, K, R, H)
        dheads = output.dbefore.reshape(B, R, K, H).transpose(0, 2, 1, 3)
        roles = dict(zip(roles, attention_backward(dheads, inside), strict=True))
        dweights = dheads @ value.swapaxes(-1, -2)  # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
    for (role, gradient), value in zip(roles.items(), inside[2:], strict=True):
        yield _station(role, part, value, gradient)
    yield _station("attention weights", part, inside[0], dweights)
    yield _station("what the heads read", part, output.before, output.dbefore)
    yield _station("attention's output", part, output.after, output.dafter)
    norm, widen, narrow = taps["attention_norm"], taps["widen"], taps["narrow"]
    yield _station("added to the input", part, norm.before, norm.dbefore)
    yield _station("normalised", part, norm.after, norm.dafter)
    yield _station("widened", part, widen.after, widen.dafter)
    yield _station("activated", part, narrow.before, narrow.dbefore)
    yield _station("narrowed", part, narrow.after, narrow.dafter)
    yield _station("added to that", part, taps["norm"].before, taps["norm"].dbefore)
    yield _station("normalised again", part, taps["norm"].after, taps["norm"].dafter)


def _head_stations(model, taps, logits, dlogits) -> Iterator[Station]:
    """Yield what stands on the encoder."""
    if "pooler" in taps:
        yield _station("pooler", "head", taps["pooler"].after, taps["pooler"].dafter)
    if "dense" in taps:
        yield _station("transformed", "head", taps["dense"].after, taps["dense"].dafter)
        yield _station("activated", "head", taps["norm"].before, taps["norm"].dbefore)
        yield _station("normalised", "head", taps["norm"].after, taps["norm"].dafter)
    if logits is not None:
        yield _station("logits", "head", logits, dlogits)


def _said(model, tokenizer, tokens, logits, masks):
    """Yield places and their likeliest answers."""
    if isinstance(model, BertForMaskedLM):
        for place in masks:
            shares = softmax_forward(logits[0, place])[0]
            best = np.argsort(-shares, kind="stable")[:TOP].tolist()
            names = tokenizer.convert_ids_to_tokens(best)
            yield (
                f"token {place}",
                [(n, float(shares[i])) for n, i in zip(names, best, strict=True)],
            )
    elif isinstance(model, BertForTokenClassification):
        task = task_for(model)
        for token, row in zip(tokens[1:-1], softmax_forward(logits[0, 1:-1])[0], strict=True):
            yield token, [_best(task.names, row)]
    else:
        task = task_for(model)
        outputs = task.outputs_from_logits(logits)
        if isinstance(task, RegressionTask):
            yield "the text", [(f"{outputs[0]:.4g}", 1.0)]
        else:
            order = np.argsort(-outputs[0], kind="stable")
            yield "the text", [(task.names[i], float(outputs[0, i])) for i in order]


def _best(names, shares):
    i = int(shares.argmax())
    return names[i], float(shares[i])


def _start(model, tokenizer, logits, masks, label):
    """Return the name of the score that the gradient is of, and its gradient, one-hot."""
    if logits is None:
        raise ValueError(f"{type(model).__name__} scores nothing that a gradient could be of")
    dlogits = np.zeros_like(logits)
    if isinstance(model, BertForMaskedLM):
        if not len(masks):
            raise ValueError(
                f"expected a {tokenizer.mask_token} in the text, whose score the gradient is of"
            )
        place = masks[0]
        chosen = int(logits[0, place].argmax())
        if label is not None:
            chosen = tokenizer.vocab.get(label)
            if chosen is None:
                raise ValueError(f"label: {label!r} is no single token of the vocabulary")
        dlogits[0, place, chosen] = 1
        return f"{tokenizer.convert_ids_to_tokens([chosen])[0]!r} at token {place}", dlogits
    names = task_for(model).names
    if label is not None and label not in names:
        raise ValueError(f"label: expected one of {', '.join(names)}, got {label!r}")
    if isinstance(model, BertForTokenClassification):
        inner = slice(1, -1)  # not [CLS] and [SEP]
        if label is not None:
            dlogits[0, inner, names.index(label)] = 1
            return f"{label!r}, summed over the tokens", dlogits
        best = logits[0, inner].argmax(axis=-1)[:, None]  # (T - 2, 1)
        np.put_along_axis(dlogits[0, inner], best, 1, axis=-1)
        return "each token's likeliest class", dlogits
    chosen = int(logits[0].argmax()) if label is None else names.index(label)
    dlogits[0, chosen] = 1
    return repr(names[chosen]), dlogits
