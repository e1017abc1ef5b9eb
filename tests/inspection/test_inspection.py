"""Inspection: activations, gradients and predictions are those of the model."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from minibert import BertConfig
from minibert import models as m
from minibert.functional import gather_backward, gather_forward
from minibert.inspection import inspect_text, printed, write_page
from minibert.inspection.curves import curves, smoothed
from minibert.inspection.page import COSINE, WEIGHT
from minibert.layers import Encoder, Frozen, LayerNorm, SelfAttention
from tests.conftest import small_tokenizer

TEXT = "the cat [MASK] on a mat ."
KINDS = [m.BertModel, m.BertForMaskedLM, m.BertForPreTraining, m.BertForSequenceClassification,
         m.BertForTokenClassification]  # fmt: skip


def made(kind, dtype=np.float64, **changes):
    tokenizer = small_tokenizer()
    config = BertConfig.preset(
        "tiny",
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        intermediate_size=24,
        max_position_embeddings=20,
        id2label={0: "O", 1: "B-A", 2: "I-A"},
        **changes,
    )
    model = kind(config, dtype=dtype)
    model.params.vector[:] += np.random.default_rng(0).normal(0, 0.2, model.params.vector.size)
    return model, tokenizer


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal"])
@pytest.mark.parametrize("kind", KINDS)
def test_inspect_text_returns_the_models_activations(kind, positions):
    model, tokenizer = made(kind, position_embedding_type=positions)
    seen = inspect_text(model, tokenizer, TEXT, "a dog ran", backward=kind is not m.BertModel)
    batch = tokenizer.encode_batch([TEXT], ["a dog ran"])
    out = model(**batch, output_hidden_states=True, output_attentions=True)
    np.testing.assert_allclose(seen.hidden_states, np.concatenate(out.hidden_states), atol=1e-10)
    np.testing.assert_allclose(seen.attentions, np.concatenate(out.attentions), atol=1e-10)
    assert seen.ids == batch["input_ids"][0].tolist()
    logits = out.prediction_logits if out.logits is None else out.logits
    last = seen.activations[-1]
    if logits is None:
        assert last.name == "pooler"
        np.testing.assert_allclose(last.value, out.pooler_output[0], atol=1e-10)
    else:
        assert last.name == "logits"
        np.testing.assert_allclose(last.value, logits[0], atol=1e-10)
    assert all((s.gradient is None) == (kind is m.BertModel) for s in seen.activations)
    assert all(s.gradient is None or s.gradient.shape == s.shape for s in seen.activations)
    first = {s.name: s.value for s in seen.activations[:4]}
    total = first["word embedding"] + first["position embedding"] + first["segment embedding"]
    np.testing.assert_allclose(total, first["embedding sum"])


def score_of(model, tokenizer):
    """Return a function of the parameters: the score that the gradient is of."""
    batch = tokenizer.encode_batch([TEXT])
    logits = model(**batch).logits[0]
    if isinstance(model, m.BertForSequenceClassification):
        best = int(logits.argmax())
        return lambda twin: twin(**batch).logits[0, best]
    if isinstance(model, m.BertForMaskedLM):
        best = int(logits[3].argmax())
        return lambda twin: twin(**batch).logits[0, 3, best]
    best = logits.argmax(axis=-1)
    rows = np.arange(1, len(best) - 1)
    return lambda twin: twin(**batch).logits[0, rows, best[1:-1]].sum()


@pytest.mark.parametrize("kind", [m.BertForSequenceClassification, m.BertForTokenClassification])
def test_saliency_is_the_first_order_change_of_the_score(kind):
    """Against a difference: each word's vector, a little longer and a little shorter."""
    model, tokenizer = made(kind)
    seen = inspect_text(model, tokenizer, TEXT, backward=True)
    score = score_of(model, tokenizer)
    for t, token in enumerate(seen.ids):
        assert seen.ids.count(token) == 1
        sides = []
        for step in (1e-5, -1e-5):
            twin = model.astype(np.float64)
            twin.params["bert.embeddings.word_embeddings.weight"][token] *= 1 + step
            sides.append(score(twin))
        assert seen.saliency[t] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", [m.BertForSequenceClassification, m.BertForTokenClassification,
                                  m.BertForMaskedLM])  # fmt: skip
def test_gradients_of_activations_sum_to_those_of_biases(kind):
    """An activation that a bias was just added to has the bias's gradient as its sum."""
    model, tokenizer = made(kind)
    seen = inspect_text(model, tokenizer, TEXT, backward=True)
    score = score_of(model, tokenizer)
    block = "bert.encoder.layer.1."
    for bias, name in (
        (block + "attention.self.query.bias", "query"),
        (block + "attention.self.value.bias", "value"),
        (block + "attention.output.dense.bias", "attention output"),
        (block + "attention.output.LayerNorm.bias", "normalized (attention)"),
        (block + "intermediate.dense.bias", "up-projection"),
        (block + "output.dense.bias", "down-projection"),
        (block + "output.LayerNorm.bias", "normalized (feed-forward)"),
    ):
        (activation,) = [s for s in seen.activations if (s.name, s.part) == (name, "block 2")]
        gradient = activation.gradient
        if gradient.ndim == 3:  # (K, T, H) -> (T, D)
            gradient = gradient.transpose(1, 0, 2).reshape(gradient.shape[1], -1)
        for place in (0, 5):
            sides = []
            for step in (1e-5, -1e-5):
                twin = model.astype(np.float64)
                twin.params[bias][place] += step
                sides.append(score(twin))
            numeric = (sides[0] - sides[1]) / 2e-5
            assert gradient.sum(axis=0)[place] == pytest.approx(numeric, rel=1e-5, abs=1e-8), name


def test_predictions_are_the_most_probable_answers():
    model, tokenizer = made(m.BertForSequenceClassification)
    ((_, answers),) = inspect_text(model, tokenizer, TEXT).predictions
    shares = [share for _, share in answers]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    model, tokenizer = made(m.BertForMaskedLM)
    ((place, answers),) = inspect_text(model, tokenizer, TEXT).predictions
    assert (place, len(answers)) == ("token 3", 5)
    assert inspect_text(model, tokenizer, "no mask", backward=None).saliency is None
    model, tokenizer = made(m.BertForTokenClassification)
    predictions = inspect_text(model, tokenizer, TEXT).predictions
    assert [token for token, _ in predictions] == tokenizer.tokenize(TEXT)


def test_label_chooses_the_score_and_errors_name_it():
    model, tokenizer = made(m.BertForSequenceClassification)
    for label in ("O", "I-A"):
        assert inspect_text(model, tokenizer, TEXT, label=label, backward=True).score == repr(label)
    with pytest.raises(ValueError, match="label: expected one of O, B-A, I-A, got 'x'"):
        inspect_text(model, tokenizer, TEXT, label="x", backward=True)
    model, tokenizer = made(m.BertForMaskedLM)
    seen = inspect_text(model, tokenizer, TEXT, label="dog", backward=True)
    assert seen.score == "'dog' at token 3"
    with pytest.raises(ValueError, match=r"expected a \[MASK\] in the text"):
        inspect_text(model, tokenizer, "none", backward=True)
    with pytest.raises(ValueError, match="expected a single token of the vocabulary, got 'zebras'"):
        inspect_text(model, tokenizer, TEXT, label="zebras", backward=True)
    with pytest.raises(ValueError, match="BertModel: expected a head"):
        inspect_text(*made(m.BertModel), TEXT, backward=True)


def test_inspect_text_leaves_the_model_unchanged():
    model, tokenizer = made(m.BertForSequenceClassification)
    before = model.params.vector.copy()
    inspect_text(model, tokenizer, TEXT, backward=True)
    assert (model.params.vector == before).all()
    assert type(model.bert.encoder.blocks[0].attention.norm).__name__ == "LayerNorm"


def test_printed_lines():
    model, tokenizer = made(m.BertForSequenceClassification)
    seen = inspect_text(model, tokenizer, "the cat " * 15, backward=True)
    lines = list(printed(seen))
    assert lines[1] == "the last 12 tokens are cut; the model has no positions for them"
    text = "\n".join(lines)
    assert "block 2\n" in text
    assert re.search(r"attention weights +2 x 20 x 20", text)
    assert text.index("gradients, output to input") < text.rindex("word embedding")
    (activation,) = [s for s in seen.activations if s.name == "pooler"]
    assert f"{activation.norm:.4g}" in text
    assert f"{activation.gradient_norm:.4g}" in text


class Reader(HTMLParser):
    """Collects what a page loads, and the text of its scripts."""

    def __init__(self):
        super().__init__()
        self.attributes, self.scripts, self.inside = [], [], None

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)


def test_write_page_keeps_the_names_of_its_places_in_a_text(tmp_path):
    """A text is inserted once: what it contains is no place for the data."""
    model, tokenizer = made(m.BertForSequenceClassification, np.float32)
    text = "{{data}} {{title}} {{pictures}} \x1b[2J"
    seen = inspect_text(model, tokenizer, text)
    write_page(tmp_path / "look.html", text, [seen], [curves("{{data}}", {"a": [(1, 2.0)]}, "x")])
    content = (tmp_path / "look.html").read_text("utf-8")
    shown = r"{{data}} {{title}} {{pictures}} \x1b[2J"
    assert f"<title>{shown}</title>" in content
    assert f"<h1>{shown}</h1>" in content
    assert 'aria-label="{{data}}"' in content
    page = Reader()
    page.feed(content)
    assert json.loads(page.scripts[0])[0]["text"] == text


def test_write_page_stores_the_inspection_and_loads_nothing(tmp_path):
    model, tokenizer = made(m.BertForSequenceClassification, np.float32)
    hostile = 'a </script><b>"&\u2028 <!-- cat'
    seen = inspect_text(model, tokenizer, hostile, backward=True)
    write_page(tmp_path / "look.html", hostile, [seen, seen], [curves("c", {"a": [(1, 2.0)]}, "x")])
    text = (tmp_path / "look.html").read_text("utf-8")
    page = Reader()
    page.feed(text)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    for word in ("url(", "@import", "fetch(", "XMLHttp", "import("):
        assert word not in text
    assert re.findall(r"https?://\S+", text) == [
        'http://www.w3.org/2000/svg",'
    ]  # a name, no address
    first, second = json.loads(page.scripts[0])
    assert first == second
    assert first["text"] == hostile
    assert first["tokens"] == seen.tokens
    L, K, T, _ = seen.attentions.shape
    weights = np.frombuffer(base64.b64decode(first["attentions"]), "<u2").reshape(L, K, T, T)
    np.testing.assert_allclose(weights / WEIGHT, seen.attentions, atol=1e-5)
    cosines = np.frombuffer(base64.b64decode(first["similarities"]), "<i2").reshape(L + 1, T, T)
    np.testing.assert_allclose(cosines / COSINE, seen.similarities(), atol=1e-4)
    np.testing.assert_allclose(cosines[:, range(T), range(T)], COSINE)
    norms = [activation[3] for activation in first["activations"]]
    np.testing.assert_allclose(norms, [s.norm for s in seen.activations], rtol=1e-4)


def test_curves_are_inside_the_picture():
    picture = curves("a < b", {"up": [(10, 1.0), (20, 3.0)], "flat": [(5, 2.0)]}, "nats")
    assert "a &lt; b" in picture
    drawn = " ".join(re.findall('points="([^"]*)"', picture))
    points = [tuple(map(float, point.split(","))) for point in drawn.split()]
    assert len(points) == 3
    assert all(0 <= x <= 640 and 0 <= y <= 260 for x, y in points)
    assert points[0][1] > points[2][1] > points[1][1]  # more is higher
    with pytest.raises(ValueError, match="expected points to draw, got none"):
        curves("none", {"a": []}, "x")
    assert len(smoothed([(i, 1.0) for i in range(5000)])) < 500
    assert smoothed([]) == []


class PreNorm:
    """A user's pre-norm block; without `attend`, its cache hides that of attention in a list."""

    def __init__(self, config, *, attend=True):
        self.attention = SelfAttention("attention", config.hidden_size, config.num_attention_heads)
        self.norm = LayerNorm("norm", config.hidden_size, 1e-5)
        self.attend = attend

    def specs(self):
        return {**self.attention.specs(), **self.norm.specs()}

    def forward(self, params, x, site, rng=None, keep=True):
        normed, norm_cache = self.norm.forward(params, x)
        y, cache = self.attention.forward(params, normed, site, rng)
        residual = x if site.rows is None else gather_forward(x, site.rows)
        return residual + y, (norm_cache, cache if self.attend else [cache], site)

    def backward(self, dout, cache, params, grads, dsite):
        norm_cache, attention_cache, site = cache
        if not self.attend:
            (attention_cache,) = attention_cache
        dnormed = self.attention.backward(dout, attention_cache, params, grads, dsite)
        dx = self.norm.backward(dnormed, norm_cache, params, grads)
        if site.rows is None:
            return dx + dout
        gather_backward(dout, site.rows, dx)
        return dx


def test_a_users_block_shows_its_known_parts_and_its_output():
    tokenizer = small_tokenizer()
    config = made(m.BertForMaskedLM)[0].config
    model = m.BertForMaskedLM(config, dtype=np.float64, block=PreNorm)
    seen = inspect_text(model, tokenizer, TEXT, backward=True)
    names = [a.name for a in seen.activations if a.part == "block 2"]
    assert names == ["query", "key", "value", "attention scores", "attention weights",
                     "heads' output", "attention output", "block output"]  # fmt: skip
    out = model(**tokenizer.encode_batch([TEXT]), output_hidden_states=True, output_attentions=True)
    np.testing.assert_allclose(seen.hidden_states, np.concatenate(out.hidden_states), atol=1e-12)
    np.testing.assert_allclose(seen.attentions, np.concatenate(out.attentions), atol=1e-12)
    assert all(a.gradient.shape == a.shape for a in seen.activations)
    assert any("block output" in line for line in printed(seen))


def test_a_block_without_attention_in_its_cache_is_refused_in_one_line():
    config = made(m.BertForMaskedLM)[0].config
    model = m.BertForMaskedLM(config, block=lambda config: PreNorm(config, attend=False))
    message = "^PreNorm: expected an AttentionCache in its cache, .*, got tuple without one$"
    with pytest.raises(ValueError, match=message):
        inspect_text(model, small_tokenizer(), TEXT)


def test_frozen_recomputed_and_shared_blocks_are_inspected():
    """Sharing gives both blocks the parameters of the first."""
    model, tokenizer = made(m.BertForSequenceClassification)
    plain = inspect_text(model, tokenizer, TEXT, backward=True)
    model.gradient_checkpointing_enable()
    model.freeze(1)
    same = inspect_text(model, tokenizer, TEXT, backward=True)
    for one, other in zip(plain.activations, same.activations, strict=True):
        assert (one.name, one.part) == (other.name, other.part)
        np.testing.assert_array_equal(one.gradient, other.gradient)
    assert type(model.bert.encoder.blocks[0]) is Frozen

    def shared(config):
        block = m.bert_block(config)
        return Encoder([block, block], ["layer.", "layer."])

    model = m.BertForSequenceClassification(model.config, dtype=np.float64, encoder=shared)
    first, second = (
        [a.value for a in inspect_text(model, tokenizer, TEXT).activations if a.part == part]
        for part in ("block 1", "block 2")
    )
    assert len(first) == len(second)
    assert not any(np.array_equal(*pair) for pair in zip(first, second, strict=True))
