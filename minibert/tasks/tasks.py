"""What labels mean: one class, several, a number, or a tag for each word.

A task turns labels into what a model learns from, and what a model says into labels and scores. Its
model says the rest, so a task can be told from a checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from minibert.data.ragged import Sequences
from minibert.data.word_alignment import word_windows
from minibert.functional import IGNORED, softmax_forward
from minibert.inference.batched import for_sequences, for_texts
from minibert.models import BertForSequenceClassification, BertForTokenClassification, PreTrained
from minibert.tasks.entities import OUTSIDE, count_entities, is_bio
from minibert.tasks.metrics import Hits, NumberScores, Scores, count, count_labels
from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.framing import with_pairs

Text = str | Sequence[str]  # a text, or where words are tagged, its words
VOCABULARY = 4096  # pieces, at most, that are learned from labelled texts
LARGEST = float(np.finfo(np.float32).max)  # number that a model can learn
AnyScores = Scores | Hits | NumberScores


class Task(ABC):
    """Labels and their numbers.

    Args:
        names: the classes, in the order of the model's logits.
    """

    kind: type[PreTrained] = BertForSequenceClassification
    problem: str | None  # as `BertConfig.problem_type` calls it

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self.ids = {name: i for i, name in enumerate(self.names)}

    @classmethod
    @abstractmethod
    def learn(cls, labels: Sequence[Any]) -> Self:
        """Return the task of telling these labels apart.

        Raises:
            ValueError: there is nothing to tell apart.
        """

    @abstractmethod
    def number(self, label: Any) -> Any:
        """Return the numbers of one text's label.

        Raises:
            ValueError: a class that is not among the names.
        """

    @abstractmethod
    def answers(self, outputs: Any) -> list[Any]:
        """Return the labels, as `number` takes them, of what `predict` returns."""

    @abstractmethod
    def scores(self, labels: Sequence[Any], outputs: Any) -> AnyScores:
        """Compare what `predict` returns with the right labels."""

    @abstractmethod
    def mistakes(
        self, texts: Sequence[Any], labels: Sequence[Any], outputs: Any
    ) -> Iterator[tuple[float, str, str, str]]:
        """Yield how sure each wrong answer is (or how far off), the truth, the answer, the text."""

    def config(self) -> dict[str, Any]:
        """Return what a model's configuration must say."""
        return {"id2label": dict(enumerate(self.names)), "problem_type": self.problem}

    def settle(self, model: PreTrained) -> Self:
        """Bring a trained model to the labels' own units; returns the task in these."""
        return self

    def learned_tokenizer(
        self, texts: Sequence[Any], pairs: Sequence[str] | None = None
    ) -> WordPieceTokenizer:
        """Learn a vocabulary from the texts themselves, for a model that starts from nothing."""
        lines = [text if isinstance(text, str) else " ".join(text) for text in texts]
        return WordPieceTokenizer.train([*lines, *(pairs or ())], VOCABULARY, exact=False)

    def prepare(
        self,
        tokenizer: WordPieceTokenizer,
        texts: Sequence[Any],
        pairs: Sequence[str] | None,
        labels: Sequence[Any],
        longest: int,
    ) -> tuple[Sequences, Callable[[np.ndarray], np.ndarray]]:
        """Encode texts to train on.

        Args:
            tokenizer: makes the ids.  texts, pairs, labels: S of each, or no pairs.
            longest: texts of more tokens are cut.

        Returns:
            the sequences, and the function that makes the labels of some of them.
        """
        sequences = Sequences(
            tokenizer.encode(text, pair, max_length=longest)
            for text, pair in with_pairs(texts, pairs)
        )
        numbers = np.array([self.number(label) for label in labels])
        return sequences, lambda rows: numbers[rows]

    def predict(
        self,
        model: Any,
        tokenizer: WordPieceTokenizer,
        texts: Sequence[Any],
        pairs: Sequence[str] | None = None,
        *,
        threads: int | None = None,
        progress: bool = False,
    ) -> Any:
        """Return what the model says of texts: probabilities (S, C), numbers (S,), or of words.

        Raises:
            FloatingPointError: a score is not finite.
        """
        logits = for_texts(
            lambda batch: model(**batch).logits,
            tokenizer,
            texts,
            pairs,
            max_length=model.config.max_position_embeddings,
            threads=threads,
            progress=progress,
        )
        _require_finite(logits)
        return self.outputs(logits)

    def outputs(self, logits: np.ndarray) -> np.ndarray:
        """Return what logits (S, C) mean: probabilities, unless it says otherwise."""
        return softmax_forward(logits)[0]

    def _id(self, name):
        if name not in self.ids:
            known = ", ".join(self.names)
            raise ValueError(f"unknown label {name!r}, expected one of {known}")
        return self.ids[name]


def _require_finite(logits):
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's scores are not finite: its training failed")


def _several(names: Iterable[str], what: str) -> list[str]:
    found = sorted(set(names))
    if len(found) < 2:
        had = f"only {found[0]!r}" if found else "none"
        raise ValueError(f"expected two {what} or more, got {had}")
    return found


class OneLabel(Task):
    """A text is of one class; what is said of it are the classes' probabilities.

    >>> task = OneLabel.learn(["dog", "cat", "dog"])
    >>> task.names, task.number("dog"), task.answers(np.array([[0.7, 0.3]]))
    (['cat', 'dog'], 1, ['cat'])
    """

    problem = "single_label_classification"

    @classmethod
    def learn(cls, labels):
        """Return the task of telling these classes apart, named in the order of the alphabet."""
        return cls(_several(labels, "classes"))

    def number(self, label):
        """Return the class's number."""
        return self._id(label)

    def answers(self, outputs):
        """Return the likeliest class of each text."""
        return [self.names[i] for i in outputs.argmax(axis=-1)]

    def scores(self, labels, outputs):
        """Count who is taken for whom."""
        true = np.array([self.number(label) for label in labels], int)
        return count(self.names, true, outputs.argmax(axis=-1))

    def mistakes(self, texts, labels, outputs):
        """Yield each text whose class is wrong."""
        for text, true, said, shares in zip(
            texts, labels, self.answers(outputs), outputs, strict=True
        ):
            if said != true:
                yield float(shares.max()), true, said, text


class SeveralLabels(Task):
    """A text has any number of labels; what is said of it is each label's probability.

    >>> task = SeveralLabels.learn([["red", "big"], [], ["big"]])
    >>> task.number(["big"]).tolist(), task.answers(np.array([[0.9, 0.8], [0.1, 0.2]]))
    ([1.0, 0.0], [['big', 'red'], []])
    """

    problem = "multi_label_classification"

    @classmethod
    def learn(cls, labels):
        """Return the task of telling these labels, each by itself."""
        return cls(_several((name for several in labels for name in several), "labels"))

    def number(self, label):
        """Return 1 for each label of a text and 0 for each other: (C,)."""
        numbers = np.zeros(len(self.names), np.float32)
        numbers[[self._id(name) for name in label]] = 1
        return numbers

    def answers(self, outputs):
        """Return the labels of each text that are likelier than not."""
        return [[self.names[i] for i in np.flatnonzero(row > 0.5)] for row in outputs]

    def scores(self, labels, outputs):
        """Count what is said and what is true."""
        true = np.array([self.number(label) for label in labels])
        return count_labels(self.names, true > 0.5, outputs > 0.5)

    def mistakes(self, texts, labels, outputs):
        """Yield each text of which a label is wrong."""
        for text, true, said, shares in zip(
            texts, labels, self.answers(outputs), outputs, strict=True
        ):
            if set(said) != set(true):
                sure = float(np.abs(shares - self.number(true)).max())
                yield sure, " ".join(true) or "none", " ".join(said) or "none", text

    def outputs(self, logits):
        """Return σ(logits)."""
        return (1 + np.tanh(logits / 2)) / 2  # that is 1 / (1 + exp(-s)), and can't overflow


class Numbers(Task):
    """A text has a number.

    While it learns, numbers are measured from their mean in units of their spread, so that no
    learning rate depends on them; `settle` multiplies that into the last layer.

    Args:
        names: of the number.  mean, spread: of what is learned.
    """

    problem = "regression"

    def __init__(self, names: Sequence[str] = ("value",), mean: float = 0.0, spread: float = 1.0):
        super().__init__(names)
        self.mean, self.spread = mean, spread

    @classmethod
    def learn(cls, labels):
        """Return the task of guessing such numbers."""
        numbers = np.array(labels, float)
        if not len(numbers) or np.ptp(numbers) == 0:
            had = f"only {numbers[0]:g}" if len(numbers) else "none"
            raise ValueError(f"expected different numbers to learn, got {had}")
        return cls(mean=float(numbers.mean()), spread=float(numbers.std()))

    def number(self, label):
        """Return the number in the model's units."""
        return (float(label) - self.mean) / self.spread

    def answers(self, outputs):
        """Return the numbers."""
        return outputs.tolist()

    def scores(self, labels, outputs):
        """Compare numbers."""
        return NumberScores(np.array(labels, float), outputs)

    def mistakes(self, texts, labels, outputs):
        """Yield every text, and how far off its number is."""
        for text, true, said in zip(texts, labels, outputs, strict=True):
            yield abs(said - float(true)), f"{float(true):g}", f"{said:.3g}", text

    def outputs(self, logits):
        """Return the numbers in the labels' units; (S, 1) -> (S,)."""
        return logits[:, 0].astype(float) * self.spread + self.mean

    def settle(self, model):
        """Let the model's last layer speak in the labels' units."""
        model.params["classifier.weight"] *= self.spread
        bias = model.params["classifier.bias"]
        bias[:] = bias * self.spread + self.mean
        return type(self)(self.names)


class Tags(Task):
    """Each word has a tag; what is said of a text are probabilities for each word, (W, C).

    A word's label stands at its first piece, the others have none (Devlin et al., 2019, section
    5.3). A text that is too long is cut between words into several, so no word goes without a tag.
    """

    kind = BertForTokenClassification
    problem = None

    @classmethod
    def learn(cls, labels):
        """Return the task of telling these tags apart, O before all others."""
        names = _several((tag for tags in labels for tag in tags), "tags")
        return cls(sorted(names, key=lambda tag: tag != OUTSIDE))

    def number(self, label):
        """Return the number of each word's tag: (W,)."""
        return np.array([self._id(tag) for tag in label], int)

    def answers(self, outputs):
        """Return the likeliest tag of each word of each text."""
        return [[self.names[i] for i in words.argmax(axis=-1)] for words in outputs]

    def scores(self, labels, outputs):
        """Count the entities, or if the tags mark none, the words."""
        said = self.answers(outputs)
        if is_bio(self.names):
            return count_entities(labels, said)
        true, said = (np.concatenate([*map(self.number, tags)]) for tags in (labels, said))
        return count(self.names, true, said)

    def mistakes(self, texts, labels, outputs):
        """Yield each word whose tag is wrong."""
        said = self.answers(outputs)
        for words, true, tags, shares in zip(texts, labels, said, outputs, strict=True):
            for i, word in enumerate(words):
                if tags[i] != true[i]:
                    text = " ".join([*words[:i], f"*{word}*", *words[i + 1 :]])
                    yield float(shares[i].max()), true[i], tags[i], text

    def prepare(self, tokenizer, texts, pairs, labels, longest):
        """Encode words; see `Task.prepare`."""
        parts = []

        def encodings():
            for words, tags in zip(texts, map(self.number, labels), strict=True):
                for encoding, first, places in word_windows(tokenizer, words, longest):
                    part = np.full(len(encoding.input_ids), IGNORED)
                    part[places[places > 0]] = tags[first : first + len(places)][places > 0]
                    parts.append(part)
                    yield encoding

        sequences = Sequences(encodings())
        flat = np.concatenate(parts)
        return sequences, lambda rows: sequences.stack(flat, rows, IGNORED)

    def predict(self, model, tokenizer, texts, pairs=None, *, threads=None, progress=False):
        """Return the tags' probabilities for the words of each text: S times (W, C)."""
        windows = []  # the text that each is of, its first word, and its words' tokens

        def encodings():
            for text, words in enumerate(texts):
                longest = model.config.max_position_embeddings
                for encoding, first, places in word_windows(tokenizer, words, longest):
                    windows.append((text, first, places))
                    yield encoding

        # A word without a token, a control character say, is outside for sure.
        outside = np.eye(len(self.names))[self.ids.get(OUTSIDE, 0)]
        outputs = [np.tile(outside, (len(words), 1)) for words in texts]
        found = for_sequences(
            lambda batch: softmax_forward(model(**batch).logits)[0],
            Sequences(encodings()),
            tokenizer.pad_token_id,
            threads=threads,
            progress=progress,
        )
        for rows, made in found:
            _require_finite(made)
            for row, probabilities in zip(rows, made, strict=True):
                text, first, places = windows[row]
                there = np.flatnonzero(places)
                outputs[text][first + there] = probabilities[places[there]]
        return outputs


TASKS = {
    "classification": OneLabel,
    "multi-label": SeveralLabels,
    "regression": Numbers,
    "tagging": Tags,
}


def task_of(model: PreTrained) -> Task:
    """Return the task that a trained model is for.

    Raises:
        ValueError: the model has none of these tasks.
    """
    names = [name for _, name in sorted((model.config.id2label or {}).items())]
    if isinstance(model, BertForTokenClassification):
        return Tags(names)
    if isinstance(model, BertForSequenceClassification):
        kinds = (OneLabel, SeveralLabels, Numbers)
        return next(kind for kind in kinds if kind.problem == model.problem)(names)
    raise ValueError(f"expected a classifier or a tagger, got {type(model).__name__}")
