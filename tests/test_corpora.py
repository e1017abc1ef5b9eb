"""The texts that were written for this project: distinct, split fairly, tagged validly."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from minibert.data.tables import read_rows
from minibert.tasks.baselines import baseline
from minibert.training import OneLabel, Tags, fine_tune
from minibert.training.defaults import fresh_config
from minibert.training.finetuning import Examples, FineTuning

CORPORA = Path(__file__).parents[1] / "corpora"
SPLITS = ("train", "dev", "test")
CLASSES = {"broken", "health", "late", "missing", "money", "plan"}


def words(text):
    return re.findall(r"[\w']+", text.lower())


@pytest.fixture(scope="module")
def situations():
    return {name: read_rows(CORPORA / f"situations/{name}.tsv", labelled=True) for name in SPLITS}


@pytest.fixture(scope="module")
def entities():
    return {name: read_rows(CORPORA / f"entities/{name}.conll", labelled=True) for name in SPLITS}


def examples(rows):
    return Examples([row.text for row in rows], None, [row.label for row in rows])


def test_there_are_enough_sentences_of_each_class(situations):
    assert sum(map(len, situations.values())) == 2009
    for rows in situations.values():
        counts = Counter(row.label for row in rows)
        assert counts.keys() == CLASSES
        assert max(counts.values()) < 1.15 * min(counts.values())
    for rows in situations.values():
        assert all(5 <= len(words(row.text)) <= 30 for row in rows)


def test_no_sentence_is_nearly_another_one(situations):
    """None begins with another's three words, shares five in a row, or most words with it."""
    texts = [words(row.text) for rows in situations.values() for row in rows]
    starts = Counter(tuple(text[:3]) for text in texts)
    assert max(starts.values()) == 1
    runs = Counter(run for text in texts
                   for run in {tuple(text[i : i + 5]) for i in range(len(text) - 4)})  # fmt: skip
    assert max(runs.values()) == 1
    number = {word: i for i, word in enumerate(sorted({w for text in texts for w in text}))}
    table = np.zeros((len(texts), len(number)), np.float32)
    for row, text in zip(table, texts, strict=True):
        row[[number[word] for word in text]] = 1
    shared = table @ table.T  # (S, W) @ (W, S) -> (S, S)
    sizes = np.diag(shared)
    alike = shared / (sizes[:, None] + sizes - shared)
    assert np.max(alike - np.eye(len(texts))) <= 0.4


def test_two_hundred_sentences_are_tagged_validly(entities):
    rows = [row for part in entities.values() for row in part]
    assert len(rows) == 200
    assert len({tuple(row.text) for row in rows}) == 200
    kinds = Counter()
    for row in rows:
        for before, tag in zip(["O", *row.label], row.label, strict=False):
            assert tag == "O" or tag[2:] in ("PER", "LOC", "ORG")
            if tag.startswith("I-"):
                assert before[2:] == tag[2:], row
            kinds[tag[2:]] += tag.startswith("B-")
    assert min(kinds[kind] for kind in ("PER", "LOC", "ORG")) > 80
    assert sum(set(row.label) == {"O"} for row in rows) >= 10


def test_a_bag_of_words_cannot_fully_tell_the_classes_apart(situations):
    """And it isn't helpless either. Naive Bayes: no more than counts of words."""
    counts = {name: Counter() for name in CLASSES}
    for row in situations["train"]:
        counts[row.label].update(words(row.text))
    right = 0
    for row in situations["test"]:
        scores = {
            name: sum(np.log((own[word] + 1) / (own.total() + 10_000)) for word in words(row.text))
            for name, own in counts.items()
        }
        right += max(scores, key=scores.get) == row.label
    assert 0.4 < right / len(situations["test"]) < 0.85


def test_the_worked_examples_run_at_small_scale(situations, entities):
    """A tiny model from nothing learns some of it within a few steps."""
    for kind, parts in ((OneLabel, situations), (Tags, entities)):
        train = examples(parts["train"][:60])
        task = kind.learn(train.labels)
        tokenizer = task.learned_tokenizer(train.texts)
        model = kind.kind(fresh_config("tiny", tokenizer, 64, **task.config()))
        before = task.scores(train.labels, task.predict(model, tokenizer, train.texts)).main
        settings = FineTuning(steps=60, batch_size=16, learning_rate=2e-3)
        task = fine_tune(model, tokenizer, task, train, settings)
        after = task.scores(train.labels, task.predict(model, tokenizer, train.texts)).main
        assert after > before + 0.3


def test_the_commonest_tag_of_each_word_is_beside_a_tagger(entities):
    task = Tags.learn([row.label for row in entities["train"]])
    train, test = examples(entities["train"]), examples(entities["test"])
    name, scores = baseline(task, train, test)
    assert name == "each word's commonest tag"
    assert scores.main < 0.2  # hardly a name comes twice
    assert baseline(task, train, train)[1].main > 0.8


@pytest.mark.parity
def test_the_usual_cheap_models_are_beside_all_other_tasks(situations):
    from minibert.training import Numbers, SeveralLabels

    rows, test = situations["train"], situations["test"]
    for kind, of in ((OneLabel, lambda row: row.label), (SeveralLabels, lambda row: [row.label]),
                     (Numbers, lambda row: float(words(row.text).count("the")))):  # fmt: skip
        parts = [Examples([row.text for row in side], None, [of(row) for row in side])
                 for side in (rows, test)]  # fmt: skip
        name, scores = baseline(kind.learn(parts[0].labels), *parts)
        assert name.startswith("TF-IDF with")
        assert scores.main > 0.15
