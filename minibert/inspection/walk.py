"""Run one text through a model, forward and backward, and record the activations."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.inspection.activations import (
    Activation,
    Recorder,
    record_block,
    record_positions,
    shape_text,
)
from minibert.inspection.predictions import Predictions, predictions_of, select_score
from minibert.io.html import Markup, escaped, shaded, table
from minibert.layers import PreNormEncoder, unwrapped
from minibert.layers.embeddings import WORDS
from minibert.models.output import attention_weights
from minibert.objectives.base import quiet
from minibert.parameters import Parameters
from minibert.tokenization import PreTrainedTokenizer


@dataclass(frozen=True)
class Inspection:
    """The activations of a text of T tokens in a model of L blocks with K heads.

    Attributes:
        kind: the name of the model's class.
        text: the text, and its pair.
        tokens: T tokens.
        ids: T token ids.
        cut: the number of tokens beyond the model's positions.
        activations: in the order of the forward pass.
        attentions (L, K, T, T): row t contains the attention weights of token t.
        hidden_states (L + 1, T, D): after the embeddings and after each block, the last one after
            the norm of an encoder that ends with one.
        predictions: for each place with a prediction, its name and the most probable answers.
        score: the name of the score that is differentiated; empty: there are no gradients.
        saliency (T,): gradient times input, Σ_d word embedding · gradient: to first order, the
            change of the score without the token's embedding (Shrikumar et al., 2016); None:
            there are no gradients, or the embeddings are not BERT's.
    """

    kind: str
    text: str
    tokens: list[str]
    ids: list[int]
    cut: int
    activations: list[Activation]
    attentions: np.ndarray
    hidden_states: np.ndarray
    predictions: Predictions
    score: str = ""
    saliency: np.ndarray | None = None

    def similarities(self) -> np.ndarray:
        """Return the cosines between the tokens' hidden states (L + 1, T, T)."""
        states = self.hidden_states
        lengths = np.linalg.norm(states, axis=-1, keepdims=True)
        directions = states / np.where(lengths == 0, 1, lengths)
        return directions @ directions.swapaxes(1, 2)  # (L+1, T, D) @ (L+1, D, T)

    def _repr_html_(self) -> Markup:
        """Return the predictions, the tokens and the norms for a notebook.

        Tokens are shaded by gradient times input: blue for a rise of the score, red for a fall.
        """
        largest = 0.0 if self.saliency is None else float(np.abs(self.saliency).max())
        shares = [0.0] * len(self.tokens)
        if largest > 0 and self.saliency is not None:
            shares = (self.saliency / largest).tolist()
        tokens = " ".join(map(shaded, self.tokens, shares))
        answers = [
            [place, Markup(", ".join(f"{escaped(name)} {share:.1%}" for name, share in found))]
            for place, found in self.predictions
        ]
        header = ["part", "activation", "shape", "norm"]
        rows: list[list[Any]] = [
            [a.part, a.name, shape_text(a.shape), a.norm] for a in self.activations
        ]
        if self.score:
            header.append("gradient norm")
            for row, activation in zip(rows, self.activations, strict=True):
                row.append("-" if activation.gradient_norm is None else activation.gradient_norm)
        score = f"<p>gradients of the score of {escaped(self.score)}</p>" if self.score else ""
        predictions = table(["place", "predictions"], answers) if answers else ""
        return Markup(
            f"<div><p><b>{escaped(self.kind)}</b>: {escaped(self.text)}</p>{predictions}{score}"
            f"<p>{tokens}</p><details><summary>{len(rows)} activations</summary>"
            f"{table(header, rows)}</details></div>"
        )


def inspect_text(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    text: str,
    pair: str | None = None,
    *,
    label: str | None = None,
    backward: bool | None = False,
) -> Inspection:
    """Record the activations of a text, and the gradients of one score.

    The score is the logit of a class, a number, or the logit of a token at the first [MASK]; where
    each token has a class, the sum over the tokens.

    Args:
        model: a `BertModel`, a masked language model, or a classifier of texts or tokens.
        tokenizer: the model's tokenizer.
        text: the text; tokens beyond the model's positions are cut.
        pair: a second text.
        label: the class or token of the score; None: the most probable one.
        backward: whether to run the backward; None: if there is a prediction.

    Raises:
        FloatingPointError: a hidden state or a logit is not finite; the message names the block.
        ValueError: there is no score to differentiate, no such class or token, or no attention in
            a block.
    """
    longest = model.config.longest
    encoding = tokenizer.encode(text, pair, max_length=longest)
    cut = len(tokenizer.encode(text, pair).input_ids) - len(encoding.input_ids)
    batch = model.check([encoding.input_ids], [encoding.token_type_ids], [encoding.attention_mask])
    recorded = RecordedModel(model)
    with quiet():
        logits = recorded.forward(batch)
    recorded.require_finite(logits)
    tokens = encoding.tokens
    predictions = [] if logits is None else predictions_of(model, tokenizer, tokens, logits[0])
    score, saliency, dlogits = "", None, None
    if bool(predictions) if backward is None else backward:
        if logits is None:
            raise ValueError(f"{type(model).__name__}: expected a head, whose score has a gradient")
        score, gradient = select_score(model, tokenizer, tokens, logits[0], label)
        dlogits = gradient[None]
        recorded.backward(dlogits)
        saliency = recorded.saliency(batch.input_ids[0])
    activations = [each for record in recorded.records for each in record.activations()]
    if logits is not None:
        own = None if dlogits is None else dlogits[0]
        activations.append(Activation("logits", "head", logits[0], own))
    return Inspection(
        kind=type(model).__name__,
        text=text if pair is None else f"{text} | {pair}",
        tokens=tokens,
        ids=encoding.input_ids,
        cut=cut,
        activations=activations,
        attentions=np.concatenate(recorded.attentions),
        hidden_states=np.concatenate([each.out for each in recorded.states]),
        predictions=predictions,
        score=score,
        saliency=saliency,
    )


class RecordedModel:
    """A copy of a model that shares its parameters, whose layers are recorded.

    Neither frozen nor recomputed blocks keep a cache, so the copy's are not.

    Args:
        model: the model, which is left as it is.
    """

    def __init__(self, model: Any):
        self.model = copy.deepcopy(model, {id(model.params): model.params})
        self.model.freeze(None)
        self.records: list[Recorder] = []
        self.attentions: list[np.ndarray] = []
        body = self.model.bert
        self.embeddings = Recorder(
            body.embeddings, "embeddings", self.records, unknown="embeddings output"
        )
        body.embeddings = self.embeddings
        # A copy of each, because a shared block occurs several times.
        blocks = [copy.deepcopy(unwrapped(block)) for block in body.encoder.blocks]
        self.blocks = [
            record_block(block, f"block {i}", self.records) for i, block in enumerate(blocks, 1)
        ]
        for block in self.blocks:
            block.observe = self._find_attention(block.layer)
        body.encoder.blocks = self.blocks
        self.states = [self.embeddings, *self.blocks]  # whose outputs are the hidden states
        if body.encoder.positions is not None:
            record_positions(body.encoder.positions, self.records)
        if isinstance(body.encoder, PreNormEncoder):
            encoder: Any = body.encoder
            encoder.norm = Recorder(body.encoder.norm, "last norm", self.records)
            self.states[-1] = encoder.norm
        self._record_head()

    def forward(self, batch: Any) -> np.ndarray | None:
        """Run the model at every token; return the logits, or None without a head."""
        self.out, self.cache = self.model.forward(batch)
        if self.model.head is None:
            return None
        # Of both heads of pre-training, the masked-LM head is the first.
        logits: np.ndarray = self.out[0] if isinstance(self.out, tuple) else self.out
        return logits

    def require_finite(self, logits: np.ndarray | None) -> None:
        """Raise FloatingPointError unless all hidden states and the logits are finite."""
        parts = {"embeddings": self.embeddings.out}
        parts |= {f"block {i}": block.out for i, block in enumerate(self.blocks, 1)}
        if logits is not None:
            parts["logits"] = logits
        for name, values in parts.items():
            if not np.isfinite(values).all():
                raise FloatingPointError(f"{name}: not finite: the model's weights are broken")

    def backward(self, dlogits: np.ndarray) -> Parameters:
        """Run the backward from the gradient of the logits; return those of the parameters."""
        douts: Any = dlogits
        if isinstance(self.out, tuple):
            douts = (dlogits, np.zeros_like(self.out[1]))
        grads: Parameters = self.model.params.zeros_like()
        self.model.backward(douts, self.cache, grads)
        return grads

    def saliency(self, ids: np.ndarray) -> np.ndarray | None:
        """Return gradient times input of each token (T,); None: unknown embeddings."""
        gradient = self.embeddings.gradients.get("word embedding")  # (1, T, D)
        if gradient is None:
            return None
        words = self.model.params[f"{self.model.prefix}embeddings.{WORDS}"]
        saliency: np.ndarray = (words[ids] * gradient[0]).sum(axis=-1)
        return saliency

    def _find_attention(self, block: Any) -> Any:
        def observe(cache: Any) -> None:
            try:
                self.attentions.append(attention_weights(cache))
            except ValueError:
                raise ValueError(
                    f"{type(block).__name__}: expected an AttentionCache in its cache, whose "
                    f"weights are shown, got {type(cache).__name__} without one"
                ) from None

        return observe

    def _record_head(self) -> None:
        """Record the pooler, or the masked-LM head."""
        owner = self.model if self.model.head is None else self.model.head
        if getattr(owner, "pooler", None) is not None:
            owner.pooler = Recorder(owner.pooler, "head", self.records)
        elif owner is not self.model:
            self.model.head = Recorder(owner, "head", self.records)
