"""How accurate is a classifier without a pre-trained model, with default options?

    pip install django sphinx
    python -m benchmarks.from_nothing

`TextClassifier()` and logistic regression on TF-IDF, of letters and of words, learn four sets: the
language of a message of Django or of Sphinx, the part of Python or NumPy that a text documents, and
the situation that a sentence describes. The messages are read from the catalogs of the installed
packages when the benchmark runs; without a package its set is left out.
"""

import gettext
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from benchmarks.few_labels import sentences
from benchmarks.harness import Missing, alternate, options, parse, report, spread, table, workers
from benchmarks.texts import labelled
from minibert import TextClassifier
from minibert.tasks import Examples

TRAIN, TEST = 40, 20  # messages of each language
LANGUAGES = 50  # of a package, at most
SHORTEST = 15  # letters of a message; shorter ones are often the same in several languages
LETTERS, WORDS = (1, 4), (1, 2)  # lengths of n-grams
# What a message contains besides its language: placeholders, tags and entities.
MARKUP = re.compile(r"%\([^)]*\)[a-z]|%[a-z]|\{[^}]*\}|<[^>]*>|&\w+;")
SETS = ("languages of Django", "languages of Sphinx", "documentation", "situations")


def main() -> None:
    """Train on all sets alternately and print the table."""
    o = parse(options(__doc__), rounds=3)
    with workers({name: (learn, name, o.quick) for name in SETS}) as (running, missing):
        found = alternate(o, running)
        about = {name: worker.ready for name, worker in running.items()} | missing
    rows = []
    for name, rounds in found.items():
        texts, classes, letters, words = about[name]
        accuracies, seconds = zip(*rounds, strict=True)
        rows.append((name, texts, classes, spread(accuracies, ".1%"), f"{letters:.1%}",
                     f"{words:.1%}", spread(seconds, ".0f")))  # fmt: skip
    heads = ("set", "training texts", "classes", "minibert", "TF-IDF of letters", "TF-IDF of words",
             "seconds")  # fmt: skip
    left_out = "\n".join(f"{name}: {reason}." for name, reason in missing.items())
    report(o, "A classifier from nothing", table(heads, rows),
           "Accuracy on test texts; one seed per round, from 0 upwards; seconds of `fit`, "
           "which learns the vocabulary, too.", left_out)  # fmt: skip


def learn(name: str, is_quick: bool) -> Iterator:
    """Yield sizes and the accuracies of TF-IDF, then accuracy and seconds, one seed per round."""
    train, test = examples(name)
    if is_quick:
        train, test = train.select(range(60)), test.select(range(60))
    classes = len(set(train.labels))
    letters, words = (tfidf(train, test, *how) for how in (("char_wb", LETTERS), ("word", WORDS)))
    yield f"{len(train):,}", classes, letters, words
    for seed in count():
        classifier = TextClassifier(epochs=1 if is_quick else None, random_state=seed)
        begin = time.perf_counter()
        classifier.fit(train.texts, train.labels)
        spent = time.perf_counter() - begin
        yield classifier.score(test.texts, test.labels), spent


def examples(name: str) -> tuple[Examples, Examples]:
    """Return the training set and the test set of a name in `SETS`."""
    if name == "documentation":
        return labelled("train"), labelled("test")
    if name == "situations":
        return sentences("train"), sentences("test")
    return messages(name.split()[-1].lower())


def messages(package: str) -> tuple[Examples, Examples]:
    """Return messages of an installed package with their languages, for training and for a test.

    Raises:
        Missing: the package is not installed, or contains too few messages.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise Missing(f"{package} is not installed")
    by_language: dict[str, set[str]] = defaultdict(set)
    for path in sorted(Path(spec.origin).parent.rglob("LC_MESSAGES/*.mo")):
        language = path.parents[1].name
        if "_" in language or language == "en":  # varieties of one language, and untranslated texts
            continue
        with path.open("rb") as file:
            catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key, text in catalog.items():
            plain = " ".join(MARKUP.sub(" ", text).split())
            if key and text != key and len(plain) >= SHORTEST:
                by_language[language].add(plain)
    rng = random.Random(0)
    large = [name for name in sorted(by_language) if len(by_language[name]) >= TRAIN + TEST]
    if len(large) < 2:
        raise Missing(f"{package} has messages of {len(large)} languages")
    rows: tuple[list, list] = [], []
    for language in sorted(rng.sample(large, min(LANGUAGES, len(large)))):
        chosen = rng.sample(sorted(by_language[language]), TRAIN + TEST)
        for part, texts in zip(rows, (chosen[:TRAIN], chosen[TRAIN:]), strict=True):
            part += [(text, language) for text in texts]
    for part in rows:
        rng.shuffle(part)
    train, test = (
        Examples([text for text, _ in part], None, [label for _, label in part]) for part in rows
    )
    return train, test


def tfidf(train: Examples, test: Examples, analyzer: str, ngrams: tuple[int, int]) -> float:
    """Return the test accuracy (float) of logistic regression on n-grams of letters or of words.

    Raises:
        Missing: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise Missing("scikit-learn is not installed") from None
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True)
    model = LogisticRegression(C=100, max_iter=1000)
    model.fit(vectorizer.fit_transform(train.texts), train.labels)
    return model.score(vectorizer.transform(test.texts), test.labels)


if __name__ == "__main__":
    main()
