"""Baselines without BERT: TF-IDF with linear models, and the most frequent tag of a word."""

import warnings
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics

# Inverse regularisation of the logistic regression: the best of 1, 10 and 100 on 50, 100, 300 and
# 1,469 sentences of corpora/situations.
LOGISTIC_C = 100
NGRAMS = (1, 2)  # words and pairs of words


def tfidf_logistic_regression(
    examples: Examples, held_out: Examples, targets: np.ndarray
) -> np.ndarray:
    """Return the held-out probabilities (S, C) of a logistic regression on TF-IDF features.

    Args:
        examples: the texts to train on.
        held_out: the S texts to predict.
        targets: class ids (N,) of the examples, or 0 and 1 (N, C) for several labels.

    Raises:
        ImportError: scikit-learn is missing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    train, test = _tfidf_features(examples, held_out)
    model = LogisticRegression(C=LOGISTIC_C, max_iter=1000)
    if targets.ndim == 2:
        model = OneVsRestClassifier(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a label that all texts have, or none
        return model.fit(train, targets).predict_proba(test)


def tfidf_ridge_regression(
    examples: Examples, held_out: Examples, targets: np.ndarray
) -> np.ndarray:
    """Return the held-out numbers (S,) of a ridge regression on TF-IDF features.

    Args:
        examples: the texts to train on.
        held_out: the S texts to predict.
        targets (N,): the examples' numbers.

    Raises:
        ImportError: scikit-learn is missing.
    """
    from sklearn.linear_model import Ridge

    train, test = _tfidf_features(examples, held_out)
    return Ridge().fit(train, targets).predict(test)


def _tfidf_features(examples: Examples, held_out: Examples) -> tuple[Any, Any]:
    """Return sparse matrices of both texts, each weighted by the examples' frequencies.

    Texts without a word of two letters have no features: both matrices are then a column of zeros.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=NGRAMS, sublinear_tf=True)
    train, test = _join_pairs(examples), _join_pairs(held_out)
    try:
        return vectorizer.fit_transform(train), vectorizer.transform(test)
    except ValueError:  # "empty vocabulary"
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))


def _join_pairs(examples: Examples) -> list[str]:
    pairs = examples.pairs or [""] * len(examples)
    return [f"{text} {pair}" for text, pair in zip(examples.texts, pairs, strict=True)]


def most_frequent_tags(examples: Examples, held_out: Examples) -> list[list[str]]:
    """Return the most frequent tag of each held-out word.

    An unknown word has the most frequent tag of all words.

    Args:
        examples: lists of words with their tags, to count.
        held_out: lists of words to tag.
    """
    by_word: dict[str, Counter[str]] = defaultdict(Counter)
    overall: Counter[str] = Counter()
    for words, tags in zip(examples.texts, examples.labels, strict=True):
        overall.update(tags)
        for word, tag in zip(words, tags, strict=True):
            by_word[word][tag] += 1

    def most_frequent(word: str) -> str:
        ((tag, _),) = by_word.get(word, overall).most_common(1)
        return tag

    return [[most_frequent(word) for word in words] for words in held_out.texts]


def compare(model: Metrics, baseline: Metrics, count: int) -> str:
    """Describe which of two results is better, and by how much, in one line of text.

    Args:
        model: the metrics of BERT.
        baseline: the metrics of a baseline on the same texts.
        count: the number of texts.
    """
    scale, digits, unit = (100, 1, " points") if model.is_share else (1, 3, "")
    lead = round(scale * (model.main - baseline.main), digits)
    on_texts = f"{model.main_name} on {count:,} texts"
    if lead == 0:
        return f"BERT and the baseline are equally good, and the baseline is cheaper: {on_texts}"
    better, other = ("BERT", "the baseline") if lead > 0 else ("the baseline", "BERT")
    return f"{better} is better than {other} by {abs(lead):.{digits}f}{unit}: {on_texts}"
