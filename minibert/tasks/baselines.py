"""What costs next to nothing: the least that a fine-tuned model has to beat."""

from collections import Counter, defaultdict

import numpy as np

from minibert.tasks.tasks import AnyScores, Numbers, SeveralLabels, Tags, Task
from minibert.training.finetuning import Examples


def baseline(task: Task, examples: Examples, held_out: Examples) -> tuple[str, AnyScores] | None:
    """Train the usual cheap model on the examples, and measure it on the held-out ones.

    For tags that is each word's commonest tag. For texts it is TF-IDF of words and pairs of words
    with a linear model, which needs scikit-learn (extra: parity).

    Returns:
        the model's name and its scores; None: there is no scikit-learn.
    """
    if isinstance(task, Tags):
        outputs = _tagged(task, examples, held_out)
        return "each word's commonest tag", task.scores(held_out.labels, outputs)
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.multiclass import OneVsRestClassifier
    except ImportError:
        return None
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    seen, unseen = vectors.fit_transform(_joined(examples)), vectors.transform(_joined(held_out))
    if isinstance(task, Numbers):
        ridge = Ridge().fit(seen, [float(label) for label in examples.labels])
        return "TF-IDF with ridge regression", task.scores(held_out.labels, ridge.predict(unseen))
    # The best of 1, 10 and 100 on 50, 100, 300 and 1,469 sentences of corpora/situations.
    logistic = LogisticRegression(C=100, max_iter=1000)
    numbers = [task.number(label) for label in examples.labels]
    if isinstance(task, SeveralLabels):
        logistic = OneVsRestClassifier(logistic)
    outputs = logistic.fit(seen, numbers).predict_proba(unseen)
    return "TF-IDF with logistic regression", task.scores(held_out.labels, outputs)


def _joined(examples):
    pairs = examples.pairs or [""] * len(examples)
    return [f"{text} {pair}" for text, pair in zip(examples.texts, pairs, strict=True)]


def _tagged(task, examples, held_out):
    """Return the sure choice of each word's commonest tag, of unknown words that of all: (W, C)."""
    counts: dict[str, Counter] = defaultdict(Counter)
    everywhere: Counter = Counter()
    for words, tags in zip(examples.texts, examples.labels, strict=True):
        everywhere.update(tags)
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += 1
    sure = np.eye(len(task.names))

    def tag_of(word):
        ((tag, _),) = counts.get(word, everywhere).most_common(1)
        return task.ids[tag]

    return [sure[[tag_of(word) for word in words]] for words in held_out.texts]
