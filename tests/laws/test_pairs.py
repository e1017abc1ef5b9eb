"""Second texts are used wherever first texts are."""

import importlib
import inspect
import json
import pkgutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minibert
from minibert import BertConfig, BertModel, CrossEncoder, FeatureExtractor
from minibert.data.columns import guess_columns
from minibert.data.tables import read_records, stream_records
from minibert.estimators import TextClassifier, TextRegressor, texts_and_pairs
from minibert.estimators.predictions import Predictions
from minibert.inference.batched import map_texts
from minibert.inference.windows import long_texts, map_windows
from minibert.inspection import inspect_text, printed, printed_values, values_of
from minibert.models.config import PRESETS
from minibert.objectives.supervised import Supervised, evaluate
from minibert.tasks import Examples, MultiLabelTask, RegressionTask, SingleLabelTask
from minibert.tasks.baselines import tfidf_logistic_regression, tfidf_ridge_regression
from minibert.tokenization.framing import sides_of, with_pairs
from minibert.training import FineTuning
from minibert.training.finetuning import FineTuningRun, ModelSource, mean_tokens
from tests.conftest import small_tokenizer
from tests.laws.commands import run

TEXTS = ["the cat sat", "a dog ran", "it was red", "the tree"]
PAIRS = ["on a mat", "under it", "and big", "then"]
OTHER = ["on a mat", "under it", "dog dog dog dog zz qq", "then"]  # the third is another one
TOKENIZER = small_tokenizer()
CONFIG = BertConfig(
    vocab_size=len(TOKENIZER), hidden_size=4, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=6, max_position_embeddings=10, initializer_range=0.5,
)  # fmt: skip
BODY = BertModel(CONFIG)
LABELS = {SingleLabelTask: ["b", "a", "a", "b"], MultiLabelTask: [["a"], ["b"], ["a", "b"], []],
          RegressionTask: [1.0, 2.0, 0.5, 1.5]}  # fmt: skip


def examples(pairs, kind=SingleLabelTask):
    return Examples(TEXTS, pairs, LABELS[kind])


def model_for(kind):
    task = kind.from_labels(LABELS[kind])
    config = BertConfig(**{**vars(CONFIG), **task.config()})
    return task, kind.model_class(config)


def predicted(kind):
    task, model = model_for(kind)
    return lambda pairs: task.predict(model, TOKENIZER, TEXTS, pairs)


def all_numbers(pairs):
    _, model = model_for(SingleLabelTask)
    return [
        list(printed_values(values_of(model, TOKENIZER, text, pair)))
        for text, pair in zip(TEXTS, pairs, strict=True)
    ]


def batches(pairs):
    task, model = model_for(SingleLabelTask)
    settings = FineTuning(steps=1, batch_size=4, shards=1)
    ((batch, _),) = Supervised(model, TOKENIZER, task, examples(pairs), settings).shards(0)
    return {name: array.tolist() for name, array in batch.items()}


def measured(pairs):
    """Return a regression's metrics, which change with any prediction."""
    task, model = model_for(RegressionTask)
    return evaluate(model, TOKENIZER, task, examples(pairs, RegressionTask)).figures()


def started(pairs):
    run = FineTuningRun.start(
        model_for(SingleLabelTask)[0], examples(pairs), ModelSource(size="tiny")
    )
    return list(run.tokenizer.vocab), run.settings.data


def fitted(kind):
    y = LABELS[RegressionTask if kind is TextRegressor else SingleLabelTask]

    def weights(pairs):
        X = list(zip(TEXTS, pairs, strict=True))
        return kind(epochs=1, max_length=16).fit(X, y).model_.params.vector

    return weights


def predicted_by(kind, method):
    y = LABELS[RegressionTask if kind is TextRegressor else SingleLabelTask]

    def outputs(pairs):
        X = list(zip(TEXTS, PAIRS, strict=True))
        estimator = kind(epochs=1, max_length=16).fit(X, y)
        if method == "score":
            return estimator.score(list(zip(TEXTS, pairs, strict=True)), y)
        return getattr(estimator, method)(list(zip(TEXTS, pairs, strict=True)))

    return outputs


def sums_of_ids(batches):
    return np.concatenate(
        [batch["input_ids"].sum(axis=1) + batch["token_type_ids"].sum(axis=1) for batch in batches]
    )


def printed_lines(method):
    """Return the lines of a task's method for given probabilities."""
    lines = getattr(SingleLabelTask(["a", "b"]), method)
    return lambda pairs: list(lines(TEXTS, np.eye(2)[[0, 1, 0, 1]], pairs))


def inspected(pairs):
    _, model = model_for(SingleLabelTask)
    seen = inspect_text(model, TOKENIZER, TEXTS[2], pairs[2], backward=True)
    return seen.text, seen.tokens, seen.activations[-1].value.tolist(), list(printed(seen))


def held_out_texts_of_baseline(function):
    """Return the texts that a baseline reads, to train and to predict; scikit-learn is replaced."""

    def texts(pairs):
        seen = []
        vectorizer = SimpleNamespace(fit_transform=seen.append, transform=seen.append)
        model = SimpleNamespace(fit=lambda *_: model, predict=list, predict_proba=list)
        false = SimpleNamespace(
            TfidfVectorizer=lambda **_: vectorizer, LogisticRegression=lambda **_: model,
            Ridge=lambda: model, OneVsRestClassifier=lambda _: model,
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for name in ("feature_extraction.text", "linear_model", "multiclass"):
                patch.setitem(sys.modules, f"sklearn.{name}", false)
            vectorizer.transform = lambda texts: seen.append(texts) or texts
            function(examples(pairs), examples(pairs[::-1]), np.zeros(4))
        return seen

    return texts


def encoded(name, **options):
    method = getattr(TOKENIZER, name)
    if name == "encode_batch":
        return lambda pairs: {
            key: array.tolist() for key, array in method(TEXTS, pairs, **options).items()
        }
    return lambda pairs: method(TEXTS[2], pairs[2], **options)


# What reads texts, as a function of the second texts.
CONSUMERS = {
    "TextEncoder.encode": encoded("encode"),
    "TextEncoder.encode, cut": encoded("encode", max_length=8),
    "TextEncoder.encode_windows": encoded("encode_windows", max_length=7),
    "TextEncoder.encode_batch": encoded("encode_batch"),
    "TextEncoder.encode_batch, windows": encoded(
        "encode_batch", max_length=7, return_overflowing_tokens=True
    ),
    "with_pairs": lambda pairs: list(with_pairs(TEXTS, pairs)),
    "sides_of": lambda pairs: sides_of(TEXTS, pairs),
    "map_texts": lambda pairs: map_texts(
        sums_of_ids, TOKENIZER, TEXTS, pairs, max_length=10,
    ),
    "map_windows": lambda pairs: map_windows(
        sums_of_ids, TOKENIZER, TEXTS, pairs, max_length=10,
    ),
    "long_texts": lambda pairs: long_texts(TOKENIZER, TEXTS, pairs, max_length=9).tolist(),
    "CrossEncoder.predict": lambda pairs: CrossEncoder(
        model_for(RegressionTask)[1], TOKENIZER
    ).predict(list(zip(TEXTS, pairs, strict=True))),
    "FeatureExtractor.__call__": FeatureExtractor(BODY, TOKENIZER),
    "FeatureExtractor.__call__, [CLS]": FeatureExtractor(BODY, TOKENIZER, pooling="cls"),
    "inspect_text": inspected,
    "values_of": all_numbers,
    "Task.predict": predicted(SingleLabelTask),
    "Task.predict, several labels": predicted(MultiLabelTask),
    "Task.predict, numbers": predicted(RegressionTask),
    "Task.count_truncated": lambda pairs: SingleLabelTask(["a"]).count_truncated(
        TOKENIZER, TEXTS, pairs, 9
    ),
    "Task.format_text": printed_lines("format_text"),
    "Task.format_json": printed_lines("format_json"),
    "Task.train_tokenizer": lambda pairs: list(
        SingleLabelTask(["a"]).train_tokenizer(TEXTS, pairs).vocab
    ),
    "Examples.checksum": lambda pairs: examples(pairs).checksum(),
    "Examples.select": lambda pairs: examples(pairs).select([2, 0]).pairs,
    "Examples.split": lambda pairs: [part.pairs for part in examples(pairs).split([2, 3])],
    "Supervised.shards": batches,
    "evaluate": measured,
    "mean_tokens": lambda pairs: mean_tokens(
        model_for(SingleLabelTask)[0], examples(pairs), TOKENIZER, BODY
    ),
    "FineTuningRun.start": started,
    "TextClassifier.fit": fitted(TextClassifier),
    "TextRegressor.fit": fitted(TextRegressor),
    "TextClassifier.predict_proba": predicted_by(TextClassifier, "predict_proba"),
    "TextRegressor.predict": predicted_by(TextRegressor, "predict"),
    "TextRegressor.score": predicted_by(TextRegressor, "score"),
    "texts_and_pairs": lambda pairs: texts_and_pairs(zip(TEXTS, pairs, strict=True)),
    "Predictions.of_texts": lambda pairs: list(Predictions.of_texts(TEXTS, pairs, [{}] * 4)),
    "tfidf_logistic_regression": held_out_texts_of_baseline(tfidf_logistic_regression),
    "tfidf_ridge_regression": held_out_texts_of_baseline(tfidf_ridge_regression),
}  # fmt: skip
# Functions with a parameter `pair` or `pairs` that read no second texts, or are tested by another.
ELSEWHERE = {
    "guess_columns", "Record.__init__", "RecordParser.__init__",  # below
    "read_records", "stream_records",
    "Estimator._outputs", "Examples.__init__", "TextEncoder._match",  # by their callers
    "TaggingTask.predict", "TaggingTask.count_truncated",  # words have no second text
    "TaggingTask.format_text", "TaggingTask.format_json",
    "are_empty", "room_for_text",  # in tests/inference/test_windows.py
    "_SpelledWords.text_of", "_SpelledWords.merge",  # pairs of symbols
    "_parse", "ByteMatcher.__init__", "BytePath.__init__",  # pairs that byte-level BPE merges
    "_examples",  # rows to train vectors on, in tests/cli/test_train_embeddings.py
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_presets(monkeypatch):
    tiny = {**PRESETS["tiny"], "num_hidden_layers": 1, "hidden_size": 4, "intermediate_size": 4}
    monkeypatch.setattr("minibert.models.config.PRESETS", {"nano": tiny, "tiny": tiny})


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_changed_second_text_changes_the_result(name):
    before, again, after = (CONSUMERS[name](pairs) for pairs in (PAIRS, list(PAIRS), OTHER))
    assert_equal(before, again)
    if isinstance(before, np.ndarray) and before.shape == after.shape and len(before) == 4:
        # Not bits: another length gives the other rows other places in a product, and with some
        # processors' BLAS the place decides the last digit.
        changed = (abs(before - after) > 1e-6 * abs(before).max()).reshape(4, -1).any(axis=1)
        assert changed.tolist() == [False, False, True, False]
    else:
        with pytest.raises(AssertionError):
            assert_equal(before, after)


def assert_equal(one, other):
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_every_function_that_takes_second_texts_is_known():
    found = set()
    for info in pkgutil.walk_packages(minibert.__path__, "minibert."):
        if info.name == "minibert.__main__" or info.name.startswith("minibert.exercises."):
            continue  # the exercises' pairs are of tokens
        module = importlib.import_module(info.name)
        for name, member in vars(module).items():
            if getattr(member, "__module__", None) != info.name:
                continue
            methods = vars(member).items() if inspect.isclass(member) else ()
            every = [(name, member), *((f"{name}.{each}", method) for each, method in methods)]
            for label, function in every:
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and {"pair", "pairs"} & {
                    *inspect.signature(function).parameters
                }:
                    found.add(label)
    known = {name.split(",")[0] for name in CONSUMERS}
    assert found <= known | ELSEWHERE
    assert found >= ELSEWHERE


def test_files_and_commands_read_second_texts(small_workspace, tmp_path, capsys):
    rows = [{"text": text, "second": pair, "label": "cats"}
            for text, pair in zip(TEXTS, PAIRS, strict=True)]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    for read in (read_records, stream_records):
        assert [row.pair for row in read(path, None, None, "second")] == PAIRS
    assert guess_columns(path, ["sentence1", "sentence2", "label"], None, None, None, True) == (
        "sentence1", "label", "sentence2")  # fmt: skip
    model = small_workspace / "classifier"
    printed = []
    capsys.readouterr()
    for pairs in (PAIRS, OTHER):
        for row, pair in zip(rows, pairs, strict=True):
            row["second"] = pair
        path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
        for words in (
            ["predict", model, "--file", path, "--as", "jsonl"],
            ["evaluate", model, path],
        ):
            assert run(*words, "--pair", "second") == 0
        assert run("inspect", model, TEXTS[2], "--pair", pairs[2]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    first, other = (lines[:4] for lines in printed)
    assert [a == b for a, b in zip(first, other, strict=True)] == [True, True, False, True]
    evaluated = ["\n".join(lines[4:13]) for lines in printed]
    assert evaluated[0] != evaluated[1]
    assert f"{TEXTS[2]} | {OTHER[2]}" in evaluated[1]  # one of the mistakes
    assert f"{TEXTS[2]} | {OTHER[2]}" in "\n".join(printed[1])
