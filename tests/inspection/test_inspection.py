"""Looking inside: what is shown is what the model computes, forward and backward."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from minibert import BertConfig
from minibert import models as m
from minibert.inspection import inspect_text, printed, write_page
from minibert.inspection.curves import curves, smoothed
from minibert.inspection.page import COSINE, WEIGHT
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
def test_the_walk_is_the_models_own(kind, positions):
    model, tokenizer = made(kind, position_embedding_type=positions)
    seen = inspect_text(model, tokenizer, TEXT, "a dog ran", backward=kind is not m.BertModel)
    batch = tokenizer.encode_batch([TEXT], ["a dog ran"])
    out = model(**batch, output_hidden_states=True, output_attentions=True)
    np.testing.assert_allclose(seen.hidden_states, np.concatenate(out.hidden_states), atol=1e-10)
    np.testing.assert_allclose(seen.attentions, np.concatenate(out.attentions), atol=1e-10)
    assert seen.ids == batch["input_ids"][0].tolist()
    logits = out.prediction_logits if out.logits is None else out.logits
    last = seen.stations[-1]
    if logits is None:
        assert last.name == "pooler"
        np.testing.assert_allclose(last.value, out.pooler_output[0], atol=1e-10)
    else:
        assert last.name == "logits"
        np.testing.assert_allclose(last.value, logits[0], atol=1e-10)
    assert all((s.gradient is None) == (kind is m.BertModel) for s in seen.stations)
    assert all(s.gradient is None or s.gradient.shape == s.shape for s in seen.stations)
    first = {s.name: s.value for s in seen.stations[:4]}
    total = first["word embedding"] + first["position embedding"] + first["segment embedding"]
    np.testing.assert_allclose(total, first["their sum"])


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
def test_gradient_times_input_is_what_the_score_would_lose(kind):
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
def test_gradients_at_the_stations_are_the_parameters_own(kind):
    """A bias is added right before its station, so its gradient is the station's, summed."""
    model, tokenizer = made(kind)
    seen = inspect_text(model, tokenizer, TEXT, backward=True)
    score = score_of(model, tokenizer)
    block = "bert.encoder.layer.1."
    for bias, name in (
        (block + "attention.self.query.bias", "query"),
        (block + "attention.self.value.bias", "value"),
        (block + "attention.output.dense.bias", "attention's output"),
        (block + "attention.output.LayerNorm.bias", "normalised"),
        (block + "intermediate.dense.bias", "widened"),
        (block + "output.dense.bias", "narrowed"),
        (block + "output.LayerNorm.bias", "normalised again"),
    ):
        (station,) = [s for s in seen.stations if (s.name, s.part) == (name, "block 2")]
        gradient = station.gradient
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


def test_what_is_said_is_what_the_model_says():
    model, tokenizer = made(m.BertForSequenceClassification)
    ((_, answers),) = inspect_text(model, tokenizer, TEXT).said
    shares = [share for _, share in answers]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    model, tokenizer = made(m.BertForMaskedLM)
    ((place, answers),) = inspect_text(model, tokenizer, TEXT).said
    assert (place, len(answers)) == ("token 3", 5)
    assert inspect_text(model, tokenizer, "no mask", backward=None).saliency is None
    model, tokenizer = made(m.BertForTokenClassification)
    said = inspect_text(model, tokenizer, TEXT).said
    assert [token for token, _ in said] == tokenizer.tokenize(TEXT)


def test_a_class_or_a_word_can_be_chosen_and_faults_are_named():
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
    with pytest.raises(ValueError, match="'zebras' is no single token"):
        inspect_text(model, tokenizer, TEXT, label="zebras", backward=True)
    with pytest.raises(ValueError, match="BertModel scores nothing"):
        inspect_text(*made(m.BertModel), TEXT, backward=True)


def test_the_model_is_left_as_it_was():
    model, tokenizer = made(m.BertForSequenceClassification)
    before = model.params.vector.copy()
    inspect_text(model, tokenizer, TEXT, backward=True)
    assert (model.params.vector == before).all()
    assert type(model.bert.encoder.blocks[0].norm).__name__ == "LayerNorm"


def test_lines_for_the_terminal():
    model, tokenizer = made(m.BertForSequenceClassification)
    seen = inspect_text(model, tokenizer, "the cat " * 15, backward=True)
    lines = list(printed(seen))
    assert lines[1] == "the last 12 tokens don't fit into the model's positions"
    text = "\n".join(lines)
    assert "block 2\n" in text
    assert re.search(r"attention weights +2 x 20 x 20", text)
    assert text.index("way home") < text.rindex("word embedding")
    (station,) = [s for s in seen.stations if s.name == "pooler"]
    assert f"{station.norm:.4g}" in text
    assert f"{station.gradient_norm:.4g}" in text


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


def test_a_page_holds_the_walk_and_loads_nothing(tmp_path):
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
    norms = [station[3] for station in first["stations"]]
    np.testing.assert_allclose(norms, [s.norm for s in seen.stations], rtol=1e-4)


def test_curves_stay_inside_their_picture():
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
