"""`inspect --values`: the printed numbers are those of `minibert.by_hand` on the same weights."""

import re

import numpy as np
import pytest

from minibert import BertConfig, WordPieceTokenizer, by_hand
from minibert import models as m
from minibert.inference.cross_encoder import SCORES
from minibert.inspection import printed_values, values_of
from minibert.inspection.values import MAX_NUMBERS, Tensor, Values
from minibert.layers import Encoder
from minibert.tasks import MultiLabelTask, RegressionTask
from tests.inspection.test_inspection import PreNorm

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", "on", "mat", "the", "."]
TOKENIZER = WordPieceTokenizer(PIECES)
TEXT = "the [MASK] sat [MASK]"
K = 2


def made(kind, **changes):
    sizes = {"vocab_size": 12, "hidden_size": 6, "num_hidden_layers": 2, "num_attention_heads": K,
             "intermediate_size": 13, "max_position_embeddings": 9, "initializer_range": 0.5,
             "id2label": {0: "dry", 1: "wet", 2: "ice"}}  # fmt: skip
    model = kind(BertConfig(**sizes | changes), dtype=np.float64)
    model.params.vector[:] += np.random.default_rng(0).normal(0, 0.3, model.params.vector.size)
    return model


class ByHand:
    """The arrays of `by_hand` on a text, by the names of `values_of`, without the batch axis.

    The gradients are the arguments and the results of its backward functions.
    """

    def __init__(self, model, text, pair, label, monkeypatch):
        encoding = TOKENIZER.encode(text, pair)
        ids, types, mask = (
            np.array([each])
            for each in (encoding.input_ids, encoding.token_type_ids, encoding.attention_mask)
        )
        self.p = dict(model.params)
        self.seen, self.weights = {}, []
        self.spy(monkeypatch)
        self.loss, self.grads = by_hand.loss_and_grads(self.p, (ids, types, mask), label, K)
        self.forward(ids, types, mask, label)

    def note(self, part, name, value):
        """Keep an array; heads side by side are cut into heads."""
        if name.removeprefix("d ") in ("query", "key", "value") and value.ndim == 3:
            value = by_hand.split_heads(value, K)
        self.seen[part, name] = value[0]

    def spy(self, monkeypatch):
        """Let the backward functions note their arguments and results."""
        linear, norm, softmax, loss = (
            getattr(by_hand, f"{name}_backward")
            for name in ("linear", "layer_norm", "softmax", "cross_entropy")
        )
        maps = {"attention.self.query": "query", "attention.self.key": "key",
                "attention.self.value": "value", "attention.output.dense": "attention output",
                "intermediate.dense": "up-projection", "output.dense": "down-projection",
                "cls.predictions.transform.dense": "transform"}  # fmt: skip
        inputs = {"attention.output.dense": "heads' output", "output.dense": "activation",
                  "classifier": "pooler"}  # fmt: skip
        norms = {"attention.output.LayerNorm": ("normalized (attention)",
                                                "residual sum (attention)"),
                 "output.LayerNorm": ("normalized (feed-forward)", "residual sum (feed-forward)"),
                 "bert.embeddings.LayerNorm": ("normalized", "embedding sum"),
                 "cls.predictions.transform.LayerNorm": ("normalized", "activation")}  # fmt: skip

        def place(name):
            found = re.fullmatch(r"bert\.encoder\.layer\.(\d)\.(.*)", name)
            if found:
                return f"block {int(found[1]) + 1}", found[2]
            return ("embeddings" if "embeddings" in name else "head"), name

        def linear_backward(dout, x, p, g, name):
            dx = linear(dout, x, p, g, name)
            part, short = place(name)
            if short in maps:
                self.note(part, f"d {maps[short]}", dout)
            if short in inputs:
                self.note(part, f"d {inputs[short]}", dx)
            return dx

        def norm_backward(dout, cache, p, g, name):
            dx = norm(dout, cache, p, g, name)
            part, short = place(name)
            for each, value in zip(norms[short], (dout, dx), strict=True):
                self.note(part, f"d {each}", value)
            return dx

        def softmax_backward(dweights, weights):
            dscores = softmax(dweights, weights)
            self.weights.append((dweights, dscores))  # of the last block first
            return dscores

        def loss_backward(cache):
            dlogits = loss(cache)
            self.note("head", "d logits", dlogits)
            return dlogits

        monkeypatch.setattr(by_hand, "linear_backward", linear_backward)
        monkeypatch.setattr(by_hand, "layer_norm_backward", norm_backward)
        monkeypatch.setattr(by_hand, "softmax_backward", softmax_backward)
        monkeypatch.setattr(by_hand, "cross_entropy_backward", loss_backward)

    def forward(self, ids, types, mask, label):
        """Note the activations."""
        p, T = self.p, ids.shape[1]
        words, positions, segments = (
            p[by_hand.WORD][ids], p[by_hand.POSITION][None, :T], p[by_hand.SEGMENT][types]
        )  # fmt: skip
        names = ("word embedding", "position embedding", "segment embedding", "embedding sum")
        summands = (words, positions, segments, words + positions + segments)
        for name, value in zip(names, summands, strict=True):
            self.note("embeddings", name, value)
            self.seen["embeddings", f"d {name}"] = self.seen["embeddings", "d embedding sum"]
        x, (_, _, _, caches) = by_hand.body_forward(p, (ids, types, mask), K)
        inputs = [cache[0][0] for cache in caches] + [x]
        self.note("embeddings", "normalized", inputs[0])
        for i, (heads, _, h, (wide, _), active, _) in enumerate(caches):
            block_input, (q, k, v, weights), merged = heads
            part, prefix = f"block {i + 1}", f"bert.encoder.layer.{i}."
            read, _ = by_hand.linear_forward(p, f"{prefix}attention.output.dense", merged)
            narrow, _ = by_hand.linear_forward(p, f"{prefix}output.dense", active)
            dweights, dscores = self.weights[::-1][i]
            for name, value in {
                "query": q, "key": k, "value": v,
                "attention scores": q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]),
                "attention weights": weights, "heads' output": merged, "attention output": read,
                "residual sum (attention)": block_input + read, "normalized (attention)": h,
                "up-projection": wide, "activation": active, "down-projection": narrow,
                "residual sum (feed-forward)": h + narrow,
                "normalized (feed-forward)": inputs[i + 1],
                "d attention weights": dweights, "d attention scores": dscores,
            }.items():  # fmt: skip
                self.note(part, name, value)
        if label.ndim == 2:
            logits, (_, dense, _, _, _, h) = by_hand.mlm_head_forward(p, x)
            active = by_hand.gelu_forward(dense)[0]
            for name, value in (("transform", dense), ("activation", active), ("normalized", h)):
                self.note("head", name, value)
        else:
            logits, (_, pooled) = by_hand.classifier_forward(p, x)
            self.note("head", "pooler", pooled)
        self.note("head", "logits", logits)
        shares, _ = by_hand.softmax_forward(logits, np.ones(logits.shape, int))
        self.note("loss", "softmax", shares)
        self.seen["loss", "loss"] = np.asarray(self.loss)


CASES = {
    "masked LM": (m.BertForMaskedLM, TEXT, None, "cat mat"),
    "masked LM without [MASK]": (m.BertForMaskedLM, "the cat sat", "a mat", None),
    "classifier": (m.BertForSequenceClassification, "the cat", "a cat", "ice"),
}


@pytest.fixture(params=CASES)
def case(request, monkeypatch):
    """Return the values of a model on a text, and those of `by_hand`."""
    kind, text, pair, label = CASES[request.param]
    model = made(kind)
    values = values_of(model, TOKENIZER, text, pair, label=label)
    ids = TOKENIZER.encode(text, pair).input_ids
    if kind is m.BertForSequenceClassification:
        target = np.array([2])
    elif label:
        target = np.full((1, len(ids)), -100)
        target[0, [2, 4]] = [PIECES.index(word) for word in label.split()]
    else:
        target = np.where(np.array([ids]) > 4, [ids], -100)
    return values, ByHand(model, text, pair, target, monkeypatch)


def expected_of(hand, tensor):
    """Return the array of `by_hand` for a tensor."""
    name = tensor.name.removeprefix("d ")
    if name in hand.p:
        return (hand.grads if tensor.name != name else hand.p)[name]
    return hand.seen[tensor.part, tensor.name]


def test_all_numbers_are_those_of_by_hand(case):
    values, hand = case
    assert values.loss == pytest.approx(hand.loss, rel=1e-12)
    for tensor in (*values.forward, *values.backward):
        expected = expected_of(hand, tensor)
        assert tensor.value.shape == expected.shape, tensor.name
        np.testing.assert_allclose(tensor.value, expected, 1e-9, 1e-12, err_msg=tensor.name)


def test_every_parameter_and_every_activation_is_shown_forward_and_back(case):
    values, hand = case
    for tensors, prefix in ((values.forward, ""), (values.backward, "d ")):
        names = [tensor.name for tensor in tensors]
        used = {f"{prefix}{name}" for name in hand.p}
        assert used <= {*names}
        assert all(names.count(name) == 1 for name in used)
    shown = {(t.part, t.name) for t in (*values.forward, *values.backward)}
    assert {key for key in hand.seen if key not in shown} == set()
    activations = [(t.part, f"d {t.name}") for t in values.forward if t.name not in hand.p]
    backward = [
        (t.part, t.name) for t in values.backward if t.name.removeprefix("d ") not in hand.p
    ]
    assert backward == activations[-3::-1]  # without softmax and loss
    for tensor in (*values.forward, *values.backward):
        assert bool(tensor.formula) == (tensor.name not in hand.p)
        assert "ACTIVATION" not in tensor.formula


def parsed(lines):
    """Return the tensors that are printed: (pass, part, name, array)."""
    found, title, rows = [], None, []

    def finish(header):
        shape = tuple(map(int, header[1].split(" x ")))
        matrix = (1, *shape)[-2:]
        chunks = -(-matrix[1] // 10)
        heads = shape[0] if len(shape) == 3 else 1
        assert len(rows) == heads * chunks * matrix[0], header
        parts = [rows[i : i + matrix[0]] for i in range(0, len(rows), matrix[0])]
        array = [np.hstack(parts[i : i + chunks]) for i in range(0, len(parts), chunks)]
        found.append((*title, header[0], np.reshape(array, shape)))

    header = None
    for line in [*lines[3:], ""]:
        opening = re.fullmatch(r"  (\S.*?) \((\d+(?: x \d+)*)\)(?: = .*)?", line)
        loss = re.fullmatch(r"  loss = .*: (\S+)", line)
        numbers = re.findall(r" (-?\d+\.\d{4})(?= |$)", line)
        if header and (opening or loss or not line):
            finish(header)
            header, rows = None, []
        if opening:
            header = opening.groups()
        elif loss:
            found.append((*title, "loss", np.array(float(loss[1]))))
        elif numbers:
            rows.append([float(number) for number in numbers])
        elif re.fullmatch(r"(forward|backward): .*", line):
            title = tuple(line.split(": "))
    return found


def test_the_printed_numbers_are_those_of_by_hand(case):
    values, hand = case
    lines = list(printed_values(values))
    assert lines[0] == f"{values.kind}: {values.text}"
    assert lines[1] == f"tokens: {' '.join(values.tokens)}"
    shown = parsed(lines)
    every = [("forward", t) for t in values.forward] + [("backward", t) for t in values.backward]
    assert [(a, b, c) for a, b, c, _ in shown] == [(way, t.part, t.name) for way, t in every]
    for (*_, array), (_, tensor) in zip(shown, every, strict=True):
        np.testing.assert_allclose(array, expected_of(hand, tensor), atol=5.1e-5)
    assert "-0.0000" not in "\n".join(lines)


def test_printed_rows_and_columns_have_names():
    values = values_of(made(m.BertForMaskedLM), TOKENIZER, TEXT, label="cat mat")
    assert values.labels == ["'cat' at token 2", "'mat' at token 4"]
    text = "\n".join(printed_values(values))
    assert "labels: 'cat' at token 2, 'mat' at token 4" in text
    assert re.search(r"attention weights \(2 x 6 x 6\) = softmax.*\n    head 1\n +\[CLS\] +the +"
                     r"\[MASK\] +sat +\[MASK\] +\[SEP\]\n    \[CLS\] ", text)  # fmt: skip
    assert re.search(r"\n    mat +(-?\d\.\d{4} *){6}\n    the ", text)  # rows of the table
    assert re.search(r"logits \(6 x 12\).*\n +\[PAD\] +\[UNK\]", text)
    assert "= gelu(up-projection)" in text


def test_printed_numbers_are_separated_and_names_are_sanitized():
    vocabulary = ["two\nlines", "\x1b[2J"]
    wide = Tensor("head", "wide", "", np.full((2, 2), -12345.67891), vocabulary, vocabulary)
    values = Values("BertModel", "a", ["a"], ["a"], [wide], [])
    assert list(printed_values(values))[-3:] == [
        " " * 16 + " two\\nline   \\x1b[2J",
        "    two\\nlines   -12345.6789 -12345.6789",
        "    \\x1b[2J      -12345.6789 -12345.6789",
    ]


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_the_formulas_name_the_activation(activation):
    values = values_of(made(m.BertForMaskedLM, hidden_act=activation), TOKENIZER, "the cat")
    text = "\n".join(printed_values(values))
    assert f"= {activation}(transform)" in text
    assert f"{activation}'(up-projection)" in text


def test_the_default_labels_are_the_most_probable_ones():
    model = made(m.BertForMaskedLM)
    values = values_of(model, TOKENIZER, TEXT)
    logits = model([TOKENIZER.encode(TEXT).input_ids]).logits[0]
    best = [PIECES[i] for i in logits[[2, 4]].argmax(axis=-1)]
    assert values.labels == [f"{best[0]!r} at token 2", f"{best[1]!r} at token 4"]
    assert values_of(model, TOKENIZER, "a cat").labels == ["'a' at token 1", "'cat' at token 2"]
    model = made(m.BertForSequenceClassification)
    logits = model([TOKENIZER.encode("a cat").input_ids]).logits[0]
    assert values_of(model, TOKENIZER, "a cat").labels == [["dry", "wet", "ice"][logits.argmax()]]


def test_the_labels_of_several_are_those_above_their_thresholds():
    model = made(m.BertForSequenceClassification, problem_type="multi_label_classification")
    model.class_weights = np.array([2.0, 3, 4])  # of the training, which a loss here does not have
    task = MultiLabelTask(["dry", "wet", "ice"], [1, 0, 1])
    values = values_of(model, TOKENIZER, "a cat", task=task)
    lines = list(printed_values(values))
    assert values.labels == ["wet"]
    assert "  predicted (3) = 1 above the thresholds, 0 elsewhere; they are 1, 0, 1" in lines
    named = values_of(model, TOKENIZER, "a cat", label="wet")
    assert named.loss == values.loss
    none = values_of(model, TOKENIZER, "a cat", task=MultiLabelTask(task.names, [1, 1, 1]))
    assert (none.labels, none.forward[-2].value.tolist()) == (["none"], [0, 0, 0])
    logits = next(tensor.value for tensor in none.forward if tensor.name == "logits")
    assert none.loss == pytest.approx(np.log1p(np.exp(logits)).mean(), rel=1e-12)
    assert model.class_weights.tolist() == [2, 3, 4]


def test_a_number_is_shown_with_the_activation_of_its_folder():
    model = made(m.BertForSequenceClassification, id2label={0: "rain"})
    plain = values_of(model, TOKENIZER, "a cat", label="3")
    lines = list(printed_values(plain))
    assert any(line.startswith("  number = logit: ") for line in lines)
    assert "  target = label: 3.0000" in lines
    for activation, name in ((SCORES["Sigmoid"], "Sigmoid"), (np.exp, "activation")):
        task = RegressionTask(["rain"], activation=activation)
        values = values_of(model, TOKENIZER, "a cat", label="3", task=task)
        number, target, loss = values.forward[-3:]
        assert (number.formula, number.value) == (
            f"{name}(logit)",
            activation(plain.forward[-3].value),
        )
        assert (target.value, loss.value) == (3, plain.loss)


def test_sinusoidal_positions_have_no_parameter():
    values = values_of(made(m.BertForMaskedLM, position_embedding_type="sinusoidal"), TOKENIZER,
                       "the cat")  # fmt: skip
    names = [tensor.name for tensor in (*values.forward, *values.backward)]
    assert "d position embedding" in names
    assert not any("position_embeddings" in name for name in names)


def test_parts_of_a_caller_that_are_known_layers_are_shown():
    own = {"embeddings": lambda config: m.bert_embeddings(config)}
    model = made(m.BertForMaskedLM)
    same = m.BertForMaskedLM(model.config, params=model.params, **own)
    seen, expected = (values_of(each, TOKENIZER, "the cat") for each in (same, model))
    assert [t.name for t in seen.forward] == [t.name for t in expected.forward]
    assert seen.loss == expected.loss


class OwnEncoder(Encoder):
    """An encoder that may compute something else."""


def test_what_is_too_large_or_has_no_such_loss_is_refused_in_one_line():
    def refused(message, model, text="the cat", **options):
        with pytest.raises(ValueError, match=message) as error:
            values_of(model, TOKENIZER, text, **options)
        assert "\n" not in str(error.value)

    refused(
        rf"^values: expected at most {MAX_NUMBERS} numbers in a tensor, got 480 in "
        r"bert.embeddings.word_embeddings.weight \(12 x 40\);",
        made(m.BertForMaskedLM, hidden_size=40),
    )
    long = made(m.BertForMaskedLM, max_position_embeddings=60)
    refused(r"got 1,352 in block 1: attention scores \(2 x 26 x 26\);", long, "cat " * 24)
    refused("expected a masked language model or a classifier of texts, got BertModel",
            made(m.BertModel))  # fmt: skip
    refused("got BertForPreTraining", made(m.BertForPreTraining))
    numbers = made(m.BertForSequenceClassification, problem_type="regression")
    refused("^values: expected one number, got 3$", numbers)
    number = made(m.BertForSequenceClassification, id2label={0: "rain"})
    refused("^label: expected a number to compare with that of the model, got none$", number)
    refused("^label: expected a number as label, got 'wet'$", number, label="wet")
    several = made(m.BertForSequenceClassification, problem_type="multi_label_classification")
    refused("^label: expected some of dry, wet, ice, got 'hot'$", several, label="ice,hot")
    config = made(m.BertForMaskedLM).config
    model = m.BertForMaskedLM(config, block=PreNorm)
    refused("values: expected a layer whose formulas are known, got PreNorm", model)
    model = m.BertForMaskedLM(config, encoder=lambda config: OwnEncoder([m.bert_block(config)]))
    refused("values: expected a layer whose formulas are known, got OwnEncoder", model)
    model = made(m.BertForMaskedLM)
    refused(
        r"label: expected a \[MASK\] in the text, got none; the label is its token",
        model,
        label="cat",
    )
    refused(r"label: expected 2 tokens, one for each \[MASK\], got 1", model, TEXT, label="cat")
    refused("label: expected a token of the vocabulary, got 'dog'", model, TEXT, label="a dog")
    refused("values: expected a text with a token that is not special, whose id", model, "")
    refused("label: expected one of dry, wet, ice, got 'hot'",
            made(m.BertForSequenceClassification), label="hot")  # fmt: skip
