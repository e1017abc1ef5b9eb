"""Parity with the pipelines of transformers: entities with positions, and answers to questions.

transformers 5 has no pipeline for question answering any more, but the functions that choose its
spans, in the pipeline for documents; the windows around them are written out here.
"""

import json

import numpy as np
import pytest

from minibert import (
    BertConfig,
    BertForQuestionAnswering,
    BertForTokenClassification,
    QuestionAnswerer,
)
from minibert.tasks import TaggingTask
from tests.conftest import small_tokenizer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning",
                               "ignore::UserWarning"),
]  # fmt: skip
TOKENIZER = small_tokenizer()
TEXTS = [
    "The cat sat on the mat, and a dog ran under the big red tree.",
    "(Then) unrealistic cats: it was  dog's mat!",
    "a é中 dog ... RED\tcat",
]


def saved(folder, kind, **fields):
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=64, initializer_range=0.6, **fields,
    )  # fmt: skip
    TOKENIZER.save_pretrained(folder)
    model = kind(config)
    model.save_pretrained(folder)
    return model


def test_entities_are_those_of_the_token_classification_pipeline(tmp_path):
    transformers = pytest.importorskip("transformers")
    task = TaggingTask(["O", "B-PET", "I-PET", "B-LOC", "I-LOC"])
    model = saved(tmp_path, BertForTokenClassification, **task.config())
    ids = TOKENIZER.encode(" ".join(TEXTS)).input_ids
    model.params["classifier.bias"][:] = -model([ids]).logits[0].mean(axis=0)  # so each tag occurs
    model.save_pretrained(tmp_path)
    peer = transformers.pipeline(
        "token-classification", str(tmp_path), aggregation_strategy="first"
    )
    words = [TOKENIZER.words_of(text) for text in TEXTS]
    lines = task.format_json(words, task.predict(model, TOKENIZER, words), lines=TEXTS)
    kinds = set()
    for text, line in zip(TEXTS, lines, strict=True):
        own, others = json.loads(line)["entities"], peer(text)
        for name in ("entity_group", "start", "end"):
            assert [entity[name] for entity in own] == [entity[name] for entity in others]
        scores = [[float(entity["score"]) for entity in side] for side in (own, others)]
        np.testing.assert_allclose(*scores, atol=2e-5)
        for mine, other in zip(own, others, strict=True):  # theirs is decoded from tokens
            assert mine["word"] == text[other["start"] : other["end"]]
            assert list(mine) == ["entity_group", "word", "start", "end", "score"]
            assert mine.keys() == other.keys()
        kinds |= {entity["entity_group"] for entity in own}
    assert kinds == {"PET", "LOC"}


@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("length", [20, 64])
def test_answers_are_those_of_the_question_answering_pipeline(tmp_path, impossible, length):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    choose = pytest.importorskip("transformers.pipelines.document_question_answering")
    saved(tmp_path, BertForQuestionAnswering)
    peer = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    question, context = "the dog?", " ".join(TEXTS)
    encoded = tokenizer(
        question, context, truncation="only_second", max_length=length, stride=5,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    null, found = np.inf, {}
    for i, ids in enumerate(encoded["input_ids"]):
        inputs = {name: torch.tensor([encoded[name][i]])
                  for name in ("input_ids", "token_type_ids", "attention_mask")}  # fmt: skip
        with torch.no_grad():
            out = peer(**inputs)
        outside = np.array([[side != 1 for side in encoded.sequence_ids(i)]]).astype(int)
        outside[0, 0] = 0  # [CLS]
        start, end = (logits.numpy().astype(float) for logits in (out.start_logits, out.end_logits))
        starts, ends, scores, null = choose.select_starts_ends(
            start, end, outside, np.ones((1, len(ids)), int), null, 5,
            handle_impossible_answer=impossible, max_answer_len=6,
        )  # fmt: skip
        one = encoded.encodings[i]
        for first, last, score in zip(starts, ends, scores, strict=True):
            span = (one.word_to_chars(one.token_to_word(first), 1)[0],
                    one.word_to_chars(one.token_to_word(last), 1)[1])  # fmt: skip
            found[span] = max(float(score), found.get(span, 0))
    if impossible:
        found[0, 0] = null
    expected = sorted(found.items(), key=lambda item: -item[1])[:5]
    answerer = QuestionAnswerer.from_pretrained(tmp_path, max_length=length, stride=5)
    (answers,) = answerer(
        [question], [context], top_k=5, max_answer_len=6, handle_impossible_answer=impossible
    )
    assert len(encoded["input_ids"]) == (1 if length == 64 else 5)
    assert [(one.start, one.end) for one in answers] == [span for span, _ in expected]
    assert [one.answer for one in answers] == [context[a:b] for (a, b), _ in expected]
    np.testing.assert_allclose([one.score for one in answers], [each for _, each in expected], 1e-4)
