"""Every model's forward pass and loss in plain expressions of each field of the configuration.

With `AllKept` as the generator, dropout keeps all units and only scales them up by 1 / (1 - rate),
so the rate at each place can be seen in the loss.
"""

import math

import numpy as np

from minibert import models as m
from tests import plain

IGNORED = -100
erf = np.vectorize(math.erf)
ACTIVATION = {
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "gelu_new": plain.gelu_new,
    "relu": plain.relu,
}


class AllKept:
    """A generator whose draws keep every unit."""

    def integers(self, low, high, size, dtype, endpoint):
        return np.full(size, high, dtype)


class Reference:
    """A model of a class and a configuration over given parameters (float64).

    Args:
        kind: the class of the model.
        config: its configuration.
        params: the parameters by name.
        training: whether dropout scales the units it keeps.
        shifts: what is added to activations, by part and name.

    Attributes:
        seen: the activations by part and name, in the order of the forward pass.
    """

    def __init__(self, kind, config, params, training=False, shifts=None):
        self.kind, self.config, self.p = kind, config, dict(params)
        self.hidden, self.attention, self.classifier = (
            1 / (1 - rate) if training else 1.0
            for rate in (
                config.hidden_dropout_prob,
                config.attention_probs_dropout_prob,
                config.hidden_dropout_prob
                if config.classifier_dropout is None
                else config.classifier_dropout,
            )
        )
        self.activation = ACTIVATION[config.hidden_act]
        self.shifts, self.seen, self.part = shifts or {}, {}, ""

    def note(self, name, x):
        """Return an activation with its shift, and keep it in `seen`."""
        key = self.part, name
        self.seen[key] = x + self.shifts.get(key, 0.0)
        return self.seen[key]

    def linear(self, name, x):
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def norm(self, name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        root = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config.layer_norm_eps)
        return centred / root * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def hidden_states(self, ids, types, mask):
        """Return the embeddings' and each block's output, (B, T, D)."""
        base = "" if self.kind is m.BertModel else "bert."
        table = {k: f"{base}embeddings.{k}_embeddings.weight" for k in ("word", "token_type")}
        self.part, note = "embeddings", self.note
        words = note("word embedding", self.p[table["word"]][ids])
        if self.config.position_embedding_type == "sinusoidal":
            positions = plain.sinusoidal_positions(ids.shape[1], self.config.hidden_size)
        else:
            positions = self.p[f"{base}embeddings.position_embeddings.weight"][: ids.shape[1]]
        positions = note("position embedding", positions[None])
        segments = note("segment embedding", self.p[table["token_type"]][types])
        x = note("embedding sum", words + positions + segments)
        x = note("normalized", self.norm(f"{base}embeddings.LayerNorm", x))
        states = [x * self.hidden]
        for i in range(self.config.num_hidden_layers):
            self.part = f"block {i + 1}"
            states.append(self.block(f"{base}encoder.layer.{i}.", states[-1], mask))
        self.part = "head"
        return states

    def block(self, name, x, mask):
        (B, T, D), K, note = x.shape, self.config.num_attention_heads, self.note
        query, key, value = (
            note(
                role,
                self.linear(f"{name}attention.self.{role}", x)
                .reshape(B, T, K, D // K)
                .transpose(0, 2, 1, 3),
            )
            for role in ("query", "key", "value")
        )
        scores = note("attention scores", query @ key.swapaxes(2, 3) / math.sqrt(D // K))
        weights = softmax(np.where(mask[:, None, None, :] == 1, scores, -np.inf))
        weights = note("attention weights", weights)
        merged = (weights * self.attention @ value).transpose(0, 2, 1, 3).reshape(B, T, D)
        merged = note("heads' output", merged)
        y = note("attention output", self.linear(f"{name}attention.output.dense", merged))
        h = note("residual sum (attention)", x + y * self.hidden)
        h = note("normalized (attention)", self.norm(f"{name}attention.output.LayerNorm", h))
        inner = note("up-projection", self.linear(f"{name}intermediate.dense", h))
        inner = note("activation", self.activation(inner))
        y = note("down-projection", self.linear(f"{name}output.dense", inner))
        out = note("residual sum (feed-forward)", h + y * self.hidden)
        return note("normalized (feed-forward)", self.norm(f"{name}output.LayerNorm", out))

    def logits(self, ids, types, mask):
        """Return the logits of the model's head, or a pair of them."""
        if self.kind is m.BertForMultipleChoice:
            C = ids.shape[1]
            ids, types, mask = (each.reshape(-1, ids.shape[-1]) for each in (ids, types, mask))
        x = self.hidden_states(ids, types, mask)[-1]
        if self.kind is m.BertModel:
            return x, np.tanh(self.linear("pooler.dense", x[:, 0]))
        if self.kind in (m.BertForMaskedLM, m.BertForPreTraining):
            h = self.note("transform", self.linear("cls.predictions.transform.dense", x))
            h = self.note("activation", self.activation(h))
            h = self.note("normalized", self.norm("cls.predictions.transform.LayerNorm", h))
            words = self.p["bert.embeddings.word_embeddings.weight"]
            vocabulary = h @ words.T + self.p["cls.predictions.bias"]
            if self.kind is m.BertForMaskedLM:
                return vocabulary
            pooled = np.tanh(self.linear("bert.pooler.dense", x[:, 0]))
            return vocabulary, self.linear("cls.seq_relationship", pooled)
        if self.kind is m.BertForQuestionAnswering:
            return self.linear("qa_outputs", x).swapaxes(1, 2)
        if self.kind is m.BertForTokenClassification:
            return self.linear("classifier", x * self.classifier)
        pooled = self.note("pooler", np.tanh(self.linear("bert.pooler.dense", x[:, 0])))
        if self.kind is m.BertForNextSentencePrediction:
            return self.linear("cls.seq_relationship", pooled)
        out = self.linear("classifier", pooled * self.classifier)
        return out.reshape(-1, C) if self.kind is m.BertForMultipleChoice else out

    def loss(self, batch, labels):
        """Return the loss of a batch."""
        logits = self.logits(*(batch[name] for name in INPUTS))
        if self.kind is m.BertForPreTraining:
            return cross_entropy(logits[0], labels["labels"]) + cross_entropy(
                logits[1], labels["next_sentence_label"]
            )
        if self.kind is m.BertForQuestionAnswering:
            labels = np.stack([labels["start_positions"], labels["end_positions"]], axis=1)
        if self.kind is not m.BertForSequenceClassification:
            return cross_entropy(logits, labels)
        if self.config.problem_type == "multi_label_classification":
            return plain.binary_cross_entropy(logits, labels)
        if self.config.problem_type == "regression":
            return float(((logits - labels) ** 2).mean())
        return cross_entropy(logits, labels)


INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def softmax(scores):
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def cross_entropy(logits, labels):
    """Return the mean over the labels that count."""
    chosen = labels != IGNORED
    shares = np.take_along_axis(softmax(logits)[chosen], labels[chosen][:, None], axis=1)
    return float(-np.log(shares).mean())
