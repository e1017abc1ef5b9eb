"""The corpora written for this project: distinct texts, balanced splits, valid tags."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from minibert.data.tables import read_records
from minibert.data.text_pairs import read_pairs
from minibert.tasks import (
    Examples,
    MultiLabelTask,
    RegressionTask,
    SingleLabelTask,
    TaggingTask,
)
from minibert.training import fine_tune
from minibert.training.defaults import fresh_config
from minibert.training.finetuning import FineTuning

CORPORA = Path(__file__).parents[1] / "corpora"
SPLITS = ("train", "dev", "test")
CLASSES = {"broken", "health", "late", "missing", "money", "plan"}


@pytest.fixture(scope="module")
def paraphrases():
    return {name: read_pairs(CORPORA / f"paraphrases/{name}.tsv") for name in ("train", "test")}


def words(text):
    return re.findall(r"[\w']+", text.lower())


@pytest.fixture(scope="module")
def situations():
    return {
        name: read_records(CORPORA / f"situations/{name}.tsv", labelled=True) for name in SPLITS
    }


@pytest.fixture(scope="module")
def entities():
    return {
        name: read_records(CORPORA / f"entities/{name}.conll", labelled=True) for name in SPLITS
    }


def examples(records):
    return Examples([record.text for record in records], None, [record.label for record in records])


def test_situations_have_balanced_classes(situations):
    assert sum(map(len, situations.values())) == 2009
    for records in situations.values():
        counts = Counter(record.label for record in records)
        assert counts.keys() == CLASSES
        assert max(counts.values()) < 1.15 * min(counts.values())
    for records in situations.values():
        assert all(5 <= len(words(record.text)) <= 30 for record in records)


def test_situations_contain_no_near_duplicates(situations):
    """No two start with the same three words, share five consecutive words, or most words."""
    texts = [words(record.text) for records in situations.values() for record in records]
    starts = Counter(tuple(text[:3]) for text in texts)
    assert max(starts.values()) == 1
    runs = Counter(run for text in texts
                   for run in {tuple(text[i : i + 5]) for i in range(len(text) - 4)})  # fmt: skip
    assert max(runs.values()) == 1
    index = {word: i for i, word in enumerate(sorted({w for text in texts for w in text}))}
    table = np.zeros((len(texts), len(index)), np.float32)
    for row, text in zip(table, texts, strict=True):
        row[[index[word] for word in text]] = 1
    shared = table @ table.T  # (S, W) @ (W, S) -> (S, S)
    sizes = np.diag(shared)
    similarity = shared / (sizes[:, None] + sizes - shared)
    assert np.max(similarity - np.eye(len(texts))) <= 0.4


def test_paraphrases_share_few_words_and_are_pairs_of_different_texts(paraphrases):
    assert [len(paraphrases[name]) for name in ("train", "test")] == [320, 164]
    assert {each.kind for each in paraphrases.values()} == {"pairs"}
    rows = [row for each in paraphrases.values() for row in each.rows]
    texts = [text for row in rows for text in row]
    assert len({*texts}) == len(texts)
    assert all(3 <= len(words(text)) <= 24 for text in texts)
    shared = [len({*words(a)} & {*words(b)}) / len({*words(a), *words(b)}) for a, b in rows]
    assert max(shared) <= 0.25
    assert np.mean(shared) < 0.1


def test_paraphrases_to_train_on_and_to_test_on_are_not_alike(paraphrases):
    train, test = ([words(text) for row in paraphrases[name].rows for text in row]
                   for name in ("train", "test"))  # fmt: skip
    runs = {tuple(text[i : i + 5]) for text in train for i in range(len(text) - 4)}
    assert not [t for t in test for i in range(len(t) - 4) if tuple(t[i : i + 5]) in runs]
    sets = [{*text} for text in train]
    assert max(len(own & {*t}) / len(own | {*t}) for t in test for own in sets) <= 0.4


def test_paraphrases_are_not_found_by_common_words(paraphrases):
    """The partner with most words in common is right for few texts: the pairs are not too easy."""
    rows = paraphrases["test"].rows
    sides = [[{*words(row[i])} for row in rows] for i in range(2)]
    shared = np.array([[len(a & b) / len(a | b) for b in sides[1]] for a in sides[0]])
    shared += np.eye(len(rows)) * 1e-9  # the right one of equal ones
    assert (shared.argmax(axis=1) == np.arange(len(rows))).mean() < 0.25


def test_questions_are_distinct_and_have_balanced_classes():
    parts = [read_records(CORPORA / f"questions/{name}.tsv", labelled=True) for name in SPLITS]
    classes = {"card", "events", "fees", "loans", "spaces", "technology"}
    for records, count in zip(parts, (50, 10, 40), strict=True):
        assert Counter(record.label for record in records) == dict.fromkeys(classes, count)
    texts = [tuple(words(record.text)) for records in parts for record in records]
    assert len(set(texts)) == 600
    assert all(3 <= len(text) <= 20 for text in texts)


def test_entities_contain_200_sentences_with_valid_tags(entities):
    records = [record for part in entities.values() for record in part]
    assert len(records) == 200
    assert len({tuple(record.text) for record in records}) == 200
    kinds = Counter()
    for record in records:
        for before, tag in zip(["O", *record.label], record.label, strict=False):
            assert tag == "O" or tag[2:] in ("PER", "LOC", "ORG")
            if tag.startswith("I-"):
                assert before[2:] == tag[2:], record
            kinds[tag[2:]] += tag.startswith("B-")
    assert min(kinds[kind] for kind in ("PER", "LOC", "ORG")) > 80
    assert sum(set(record.label) == {"O"} for record in records) >= 10


def test_situations_are_only_partly_solved_by_naive_bayes(situations):
    """Naive Bayes on word counts is better than chance and far from perfect."""
    counts = {name: Counter() for name in CLASSES}
    for record in situations["train"]:
        counts[record.label].update(words(record.text))
    correct = 0
    for record in situations["test"]:
        scores = {
            name: sum(
                np.log((own[word] + 1) / (own.total() + 10_000)) for word in words(record.text)
            )
            for name, own in counts.items()
        }
        correct += max(scores, key=scores.get) == record.label
    assert 0.4 < correct / len(situations["test"]) < 0.85


@pytest.mark.slow
def test_fine_tune_improves_a_tiny_model_on_both_corpora(situations, entities):
    """A newly initialized tiny model improves within a few steps."""
    for kind, parts in ((SingleLabelTask, situations), (TaggingTask, entities)):
        train = examples(parts["train"][:60])
        task = kind.from_labels(train.labels)
        tokenizer = task.train_tokenizer(train.texts)
        model = kind.model_class(fresh_config("tiny", tokenizer, 64, **task.config()))
        before = task.metrics(train.labels, task.predict(model, tokenizer, train.texts)).main
        settings = FineTuning(steps=60, batch_size=16, learning_rate=2e-3)
        task = fine_tune(model, tokenizer, task, train, settings)
        after = task.metrics(train.labels, task.predict(model, tokenizer, train.texts)).main
        assert after > before + 0.3


def test_baseline_of_tags_is_the_most_frequent_tag_of_each_word(entities):
    task = TaggingTask.from_labels([record.label for record in entities["train"]])
    train, test = examples(entities["train"]), examples(entities["test"])
    name, scores = task.baseline(train, test)
    assert name == "each word's commonest tag"
    assert scores.main < 0.2  # few names occur twice
    assert task.baseline(train, train)[1].main > 0.8


@pytest.mark.parity
def test_baseline_of_other_tasks_is_tf_idf(situations):
    train, test = situations["train"], situations["test"]
    kinds = {
        SingleLabelTask: lambda record: record.label,
        MultiLabelTask: lambda record: [record.label],
        RegressionTask: lambda record: float(words(record.text).count("the")),
    }
    for kind, label_of in kinds.items():
        parts = [
            Examples([record.text for record in side], None, [label_of(record) for record in side])
            for side in (train, test)
        ]
        name, scores = kind.from_labels(parts[0].labels).baseline(*parts)
        assert name.startswith("TF-IDF with")
        assert scores.main > 0.15
