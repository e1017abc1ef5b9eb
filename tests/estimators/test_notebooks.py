"""HTML for notebooks: escaped, well-formed, without scripts, the same each time."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertModel, WordPieceTokenizer
from minibert.estimators import Predictions, TextClassifier, TextRegressor, TokenTagger
from minibert.inspection import inspect_text, values_of
from minibert.io.html import MAX_ROWS, bar, curve, table
from minibert.models import BertConfig, BertForSequenceClassification
from minibert.tasks import ClassificationMetrics, RegressionMetrics
from minibert.training import TrainingHistory
from tests.conftest import small_tokenizer

EVIL = '<script>alert("1 & 2")</script> a red\tcat\x1b[2J\ud800'
NAMES = ["<b>", "a&b"]


def classifier(kind, *classes):
    tokenizer = small_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=4, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=4, max_position_embeddings=64, id2label=dict(enumerate(classes)),
        problem_type=kind,
    )  # fmt: skip
    return BertForSequenceClassification(config, dtype=np.float64), tokenizer


def inspection():
    model, tokenizer = classifier("single_label_classification", *NAMES)
    return inspect_text(model, tokenizer, EVIL.replace("\ud800", ""), EVIL[:9], backward=True)


def body():
    tokenizer = WordPieceTokenizer.from_pretrained("tiny")
    return inspect_text(BertModel.from_pretrained("tiny"), tokenizer, "a < b")


def masked():
    tokenizer = WordPieceTokenizer.from_pretrained("tiny")
    return inspect_text(BertForMaskedLM.from_pretrained("tiny"), tokenizer, "a < [MASK]")


def values():
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<", "&", "a"])
    config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1,
                        intermediate_size=4, max_position_embeddings=8,
                        id2label=dict(enumerate(NAMES)))  # fmt: skip
    return values_of(BertForSequenceClassification(config), tokenizer, "a < &")


LINES = [{"step": i, "loss": 1 / i, "rate": 1.0} for i in range(1, 9)]
SHOWN = {
    "classes": lambda: Predictions([{"text": EVIL, "label": "<b>", "probability": 0.25}] * 2),
    "pairs": lambda: Predictions([{"text": "a", "pair": EVIL, "label": 1, "probability": 1.0}]),
    "labels": lambda: Predictions([{"text": "a", "labels": {"<b>": 0.75, "a&b": 0.5}}]),
    "numbers": lambda: Predictions([{"text": EVIL, "label": 0.123456}]),
    "words": lambda: Predictions([{"words": ["a", "<b>"], "tags": ["O", "B-<i>"]}] * 60),
    "nothing": lambda: Predictions([]),
    "history": lambda: TrainingHistory([*LINES, {"step": 8, "held_out_<b>": 0.5}], 2),
    "no history": lambda: TrainingHistory([], 1),
    "confusion": lambda: ClassificationMetrics(NAMES, np.array([[3, 1], [0, 2]])),
    "errors": lambda: RegressionMetrics(np.arange(4.0), np.arange(4.0) + 0.5),
    "inspection": inspection,
    "inspection of a body": body,
    "inspection of a masked LM": masked,
    "values": values,
}
EXPECTED = {  # parts of the text that a reader sees
    "classes": ["<b>", "25.0%", "alert"], "pairs": ["alert", "100.0%"],
    "labels": ["<b> 75.0%, a&b 50.0%"], "numbers": ["0.1235"], "words": ["<b>B-<i>", "and 10 more"],
    "nothing": [], "history": ["held_out_<b>", "0.75"], "no history": [],
    "confusion": ["<b>", "a&b", "83.3"], "errors": ["0.5"],
    "inspection": ["<b>", "a&b", "alert", "gradient norm", "activations"],
    "inspection of a body": ["a < b", "activations"], "inspection of a masked LM": ["%"],
    "values": ["a < &", "loss", "d logits"],
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_html_is_escaped_well_formed_and_deterministic(name):
    html = SHOWN[name]()._repr_html_()
    assert html == SHOWN[name]()._repr_html_()
    tree = ElementTree.fromstring(html)  # one element, or it raises
    found = "".join(tree.itertext())
    for part in EXPECTED[name]:
        assert part in found
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert tags <= {"div", "p", "b", "table", "tr", "th", "td", "span", "sub", "svg", "title",
                    "polyline", "details", "summary", "pre"}  # fmt: skip
    attributes = {key for element in tree.iter() for key in element.attrib}
    assert not any(key.startswith("on") or key in ("href", "src") for key in attributes)
    html.encode()  # no surrogates
    assert not re.search(r"[\x00-\x1f]", html)
    assert len(html) < 60_000


def test_tables_are_cut_and_numbers_are_rounded():
    html = table(["<n>"], [[i / 7] for i in range(MAX_ROWS + 3)])
    assert html.count("<tr>") == MAX_ROWS + 1
    assert html.endswith("<p>and 3 more</p>")
    assert "<td>0.1429</td>" in html
    assert "&lt;n&gt;" in html
    assert "width:15.0px" in bar(0.25)
    assert "width:60.0px" in bar(1.5)


def test_curves_go_from_the_first_value_to_the_last_one():
    tree = ElementTree.fromstring(curve("a<b", [2.0, 1.0, 3.0]))
    (line,) = tree.iter("{http://www.w3.org/2000/svg}polyline")
    assert line.attrib["points"] == "2.0,18.0 80.0,34.0 158.0,2.0"
    assert tree.attrib["aria-label"] == "a<b: 2 to 3"
    assert curve("one", [1.0]) == ""
    assert "2.0,2.0 158.0,2.0" in curve("flat", [0.0, 0.0])


def test_estimators_return_predictions_to_look_at(monkeypatch):
    from minibert.models.config import PRESETS

    tiny = {**PRESETS["tiny"], "hidden_size": 8, "intermediate_size": 8}
    monkeypatch.setattr("minibert.models.config.PRESETS", {"nano": tiny, "tiny": tiny})
    texts, small = ["a red fox", "the blue sky"] * 4, {"epochs": 1, "batch_size": 4}
    made = TextClassifier(**small).fit(texts, [7, 3] * 4)
    found = made.predictions(texts[:2])
    shares = made.predict_proba(texts[:2])
    assert [row["label"] for row in found] == made.predict(texts[:2]).tolist()
    assert [row["probability"] for row in found] == pytest.approx(shares.max(axis=1).tolist())
    assert [row["text"] for row in found] == texts[:2]
    pairs = [("a red fox", "<b>")]
    assert made.predictions(pairs)[0]["pair"] == "<b>"
    several = TextClassifier(**small).fit(texts, [[1, 0, 1], [0, 1, 1]] * 4)
    several.task_.thresholds[:] = [0.0, 1.0, 0.0]
    assert [*several.predictions(texts[:1])[0]["labels"]] == [0, 2]
    numbers = TextRegressor(**small).fit(texts, [1.0, 2.0] * 4)
    assert [row["label"] for row in numbers.predictions(texts)] == numbers.predict(texts).tolist()
    words = [text.split() for text in texts]
    tagger = TokenTagger(**small).fit(words, [["O", "A", "O"]] * 8)
    assert tagger.predictions(words[:2])[1] == {
        "words": words[1], "tags": tagger.predict(words[:2])[1],
    }  # fmt: skip
