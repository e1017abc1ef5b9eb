"""Labelling texts in the manner of scikit-learn: `TextClassifier`, `TextRegressor`, `TokenTagger`.

>>> texts = ["a red fox", "the red hen", "a blue sky", "the blue sea"] * 4
>>> classifier = TextClassifier(epochs=40, learning_rate=2e-3).fit(texts, [0, 0, 1, 1] * 4)
>>> classifier.predict(["the red sky", "a blue hen"]).tolist()
[0, 1]

They fit into scikit-learn's `Pipeline`, `cross_val_score`, `GridSearchCV` and `clone`, and need
nothing of it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np

from minibert.data.sampling import held_out_of
from minibert.files import checkpoint_folder
from minibert.tasks.tasks import LARGEST, Numbers, OneLabel, SeveralLabels, Tags, Task
from minibert.tokenization import WordPieceTokenizer
from minibert.training.defaults import finetuning_recipe, fresh_config
from minibert.training.finetuning import Examples, FineTuning, fine_tune, steps_for

DEV_SHARE, PATIENCE = 0.15, 3  # where training may stop early: examples held out, epochs waited
DROPOUT = 0.1


@dataclass(eq=False, repr=False)
class Estimator:
    """What the three share.

    Args:
        model: the folder of a pre-trained model, its name on the hub, or "minilm" for the one of
            the extra `minilm`; None: a vocabulary and a new model are learned from the texts.
        size, max_length: of a new model, `BertConfig.preset`'s name and a number of tokens; a
            pre-trained one has its own.
        epochs, batch_size, learning_rate, layer_decay: None: what suits so many examples; see
            `training.recipes`.
        freeze: the embeddings and so many of the lowest blocks don't learn; None: all learn.
        early_stopping: hold out 15 % of the examples, keep the weights that label these best, and
            stop after three epochs without better ones.
        random_state: a number that decides everything random.
        threads: how many cores to use; None: all. They change no bit of the result.
        verbose: show a progress bar.

    Attributes:
        model_, tokenizer_, task_: what was learned.
    """

    model: str | os.PathLike | None = None
    _: KW_ONLY
    size: str = "tiny"
    max_length: int = 64
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    layer_decay: float | None = None
    freeze: int | None = None
    early_stopping: bool = False
    random_state: int = 0
    threads: int | None = None
    verbose: bool = False

    kind: ClassVar[str | None] = None  # as scikit-learn calls it

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by their names; `deep` changes nothing."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Set some of the constructor's arguments.

        Raises:
            ValueError: there is no such argument.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"{name}: no such parameter of {type(self).__name__}, "
                    f"expected one of {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the class with the arguments that aren't the defaults."""
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` was called."""
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn wants to know; only it calls this."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=True, multi_output=self.kind == "classifier"),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            classifier_tags=ClassifierTags() if self.kind == "classifier" else None,
            regressor_tags=RegressorTags() if self.kind == "regressor" else None,
        )

    def _fit(self, task: Task, examples: Examples, class_weight: Any = None) -> Self:
        model, tokenizer = self._start(task, examples)
        held_out = None
        if self.early_stopping:
            classes = examples.labels if isinstance(task, OneLabel) else [None] * len(examples)
            rows = held_out_of(classes, DEV_SHARE, self.random_state)
            held_out = examples.chosen(rows)
            examples = examples.chosen(sorted(set(range(len(examples))) - set(rows.tolist())))
        recipe = finetuning_recipe(len(examples), model.config, pretrained=self.model is not None)
        recipe = recipe.changed(self)
        settings = FineTuning(
            steps=steps_for(len(examples), recipe.batch_size, recipe.epochs),
            batch_size=recipe.batch_size,
            shards=min(4, recipe.batch_size),
            learning_rate=recipe.learning_rate,
            seed=self.random_state,
            evaluate_every=steps_for(len(examples), recipe.batch_size, 1),
            layer_decay=recipe.layer_decay,
            freeze=self.freeze,
            class_weight=class_weight,
            patience=PATIENCE if self.early_stopping else None,
        )
        self.task_ = fine_tune(
            model,
            tokenizer,
            task,
            examples,
            settings,
            held_out=held_out,
            threads=self.threads,
            progress=self.verbose,
        )
        self.model_, self.tokenizer_ = model, tokenizer
        return self

    def _start(self, task, examples):
        """Return the model to begin with, and its tokenizer."""
        dropout = {"hidden_dropout_prob": DROPOUT, "attention_probs_dropout_prob": DROPOUT}
        if self.model is not None:
            folder = checkpoint_folder(self.model)
            model = task.kind.from_pretrained(
                folder, seed=self.random_state, **task.config(), **dropout
            )
            return model, WordPieceTokenizer.from_pretrained(folder)
        tokenizer = task.learned_tokenizer(examples.texts, examples.pairs)
        config = fresh_config(self.size, tokenizer, self.max_length, **task.config(), **dropout)
        return task.kind(config, seed=self.random_state), tokenizer

    def _outputs(self, texts: Sequence[Any], pairs: Sequence[str] | None = None) -> Any:
        if not self.__sklearn_is_fitted__():
            raise _not_fitted(f"this {type(self).__name__} is not fitted yet: call fit first")
        return self.task_.predict(
            self.model_, self.tokenizer_, texts, pairs, threads=self.threads, progress=self.verbose
        )


def _not_fitted(message):
    """Return scikit-learn's own exception if it is there, which is a ValueError too."""
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return ValueError(message)
    return NotFittedError(message)


def texts_and_pairs(X: Iterable[Any]) -> tuple[list[str], list[str] | None]:
    """Take texts, or pairs of texts, apart.

    >>> texts_and_pairs(["one", "two"]), texts_and_pairs([("one", "more")])
    ((['one', 'two'], None), (['one'], ['more']))

    Args:
        X: strings; or tuples, lists or rows of two strings.

    Raises:
        TypeError, ValueError: neither, or nothing at all, or an empty text.
    """
    if isinstance(X, str) or not hasattr(X, "__iter__"):
        raise TypeError(f"X: expected a list of texts, got {X!r:.80}")
    texts: list[str] = []
    pairs: list[str] = []
    for i, row in enumerate(X):
        one = isinstance(row, str)
        parts = [row] if one or not hasattr(row, "__iter__") else list(row)
        if not all(isinstance(part, str) for part in parts) or len(parts) != (1 if one else 2):
            raise TypeError(f"X[{i}]: expected a string, or a pair of strings, got {row!r:.80}")
        if not all(part.strip() for part in parts):
            raise ValueError(f"X[{i}]: the text is empty")
        texts.append(str(parts[0]))
        pairs += map(str, parts[1:])
    if not texts:
        raise ValueError("X: expected at least one text, got 0 sample(s)")
    if pairs and len(pairs) != len(texts):
        raise TypeError("X: expected pairs of strings everywhere, or nowhere")
    return texts, pairs or None


def _same_length(X, y):
    if len(X) != len(y):
        raise ValueError(
            f"y: expected {len(X)} labels, one for each text, got {len(y)}: "
            "inconsistent numbers of samples"
        )


@dataclass(eq=False, repr=False)
class TextClassifier(Estimator):
    """Put texts into classes: one of several, or any number of them.

    Args:
        model, size, max_length, epochs, batch_size, learning_rate, layer_decay, freeze,
            early_stopping, random_state, threads, verbose: as `Estimator` takes them.
        class_weight: how much each class counts in the loss, by its label (1 where it isn't named);
            or "balanced": all alike, however rare; None: all texts count alike. For one class a
            text.

    Attributes:
        classes_: the labels, sorted; (C,).
        n_classes_: C.
    """

    class_weight: Mapping[Any, float] | Literal["balanced"] | None = None

    kind: ClassVar[str | None] = "classifier"

    def fit(self, X: Iterable[Any], y: Any) -> Self:
        """Learn from labelled texts.

        Args:
            X: S texts, or pairs of texts.
            y: (S,), a label each; or (S, C) of 0 and 1, where a text may have several.

        Raises:
            TypeError, ValueError: what is no text, no label, or not as many of both.
        """
        texts, pairs = texts_and_pairs(X)
        if y is None:
            raise ValueError("y: requires y to be passed, but the target y is None")
        y = np.asarray(y)
        _same_length(texts, y)
        if y.dtype.kind in "fc" and not np.isfinite(y).all():
            raise ValueError("y: expected labels, got NaN or infinity")
        if y.ndim == 2 and y.shape[1] > 1:
            if not np.isin(y, (0, 1)).all():
                raise ValueError("y: expected 0 and 1 alone where a text may have several labels")
            self.classes_ = np.arange(y.shape[1])
            task: Task = SeveralLabels([str(i) for i in self.classes_])
            labels: list[Any] = [[str(i) for i in np.flatnonzero(row)] for row in y]
        else:
            if y.ndim != 1 and y.shape != (len(texts), 1):
                raise ValueError(f"y: expected the shape ({len(texts)},), got {y.shape}")
            y = y.reshape(-1)
            if y.dtype.kind == "f" and (y != np.round(y)).any():
                raise ValueError("y: Unknown label type: continuous; see TextRegressor")
            self.classes_, numbers = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError("y: expected two classes or more, got 1 class")
            task = OneLabel([str(name) for name in self.classes_])
            labels = [task.names[i] for i in numbers]
        self.n_classes_ = len(self.classes_)
        weights: Any = self.class_weight
        if weights is not None and isinstance(task, SeveralLabels):
            raise ValueError("class_weight: expected None where a text may have several labels")
        if isinstance(weights, Mapping):
            unknown = [label for label in weights if label not in self.classes_]
            if unknown:
                raise ValueError(f"class_weight: there is no class {unknown[0]!r} in y")
            weights = [float(weights.get(label, 1)) for label in self.classes_]
        return self._fit(task, Examples(texts, pairs, labels), weights)

    def predict_proba(self, X: Iterable[Any]) -> np.ndarray:
        """Return the probability of each class for each text: (S, C)."""
        return self._outputs(*texts_and_pairs(X))

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return each text's likeliest label (S,); or (S, C) of 0 and 1, as `fit` was given."""
        probabilities = self.predict_proba(X)
        if isinstance(self.task_, SeveralLabels):
            return (probabilities > 0.5).astype(int)
        return self.classes_[probabilities.argmax(axis=-1)]

    def score(self, X: Iterable[Any], y: Any) -> float:
        """Return the share of texts whose label, or labels, are all right."""
        right = self.predict(X) == np.asarray(y)
        return float(right.reshape(len(right), -1).all(axis=1).mean())


@dataclass(eq=False, repr=False)
class TextRegressor(Estimator):
    """Give texts a number; its arguments are `Estimator`'s."""

    kind: ClassVar[str | None] = "regressor"

    def fit(self, X: Iterable[Any], y: Any) -> Self:
        """Learn from texts (S), or pairs of texts, and their numbers (S,).

        Raises:
            TypeError, ValueError: what is no text, no number, or not as many of both.
        """
        texts, pairs = texts_and_pairs(X)
        if y is None:
            raise ValueError("y: requires y to be passed, but the target y is None")
        y = np.asarray(y, float)
        _same_length(texts, y)
        if len(y) < 2:
            raise ValueError("y: expected two numbers or more, got n_samples = 1")
        y = y.reshape(len(y), -1)
        if y.shape[1] != 1 or not (abs(y) <= LARGEST).all():
            raise ValueError("y: expected one number for each text, got NaN, infinity or more")
        numbers = y[:, 0].tolist()
        return self._fit(Numbers.learn(numbers), Examples(texts, pairs, numbers))

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return each text's number: (S,)."""
        return self._outputs(*texts_and_pairs(X))

    def score(self, X: Iterable[Any], y: Any) -> float:
        """Return R²: 1 is perfect, 0 as good as always guessing the mean."""
        numbers = np.asarray(y, float).reshape(-1).tolist()
        return self.task_.scores(numbers, self.predict(X)).main


@dataclass(eq=False, repr=False)
class TokenTagger(Estimator):
    """Give each word of a text a tag; its arguments are `Estimator`'s.

    >>> words = [["a", "red", "fox"], ["the", "red", "hen"], ["a", "fox"], ["the", "hen"]] * 4
    >>> tags = [["O", "C", "A"], ["O", "C", "A"], ["O", "A"], ["O", "A"]] * 4
    >>> TokenTagger(epochs=20, learning_rate=2e-3).fit(words, tags).predict([["the", "fox"]])
    [['O', 'A']]
    """

    def fit(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> Self:
        """Learn from S lists of words, and as many lists of a tag for each word.

        Raises:
            TypeError, ValueError: what is no list of words, or not as many tags as words.
        """
        words = [_words(text, f"X[{i}]") for i, text in enumerate(X)]
        tags = [_words(each, f"y[{i}]") for i, each in enumerate(y)]
        _same_length(words, tags)
        for i, (text, each) in enumerate(zip(words, tags, strict=True)):
            if len(text) != len(each):
                raise ValueError(f"y[{i}]: expected {len(text)} tags, one a word, got {len(each)}")
        return self._fit(Tags.learn(tags), Examples(words, None, tags))

    def predict(self, X: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the tag of each word of each text."""
        return self.task_.answers(self.predict_proba(X))

    def predict_proba(self, X: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return the tags' probabilities for each word of each text: S times (W, C)."""
        return self._outputs([_words(text, f"X[{i}]") for i, text in enumerate(X)])

    def score(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> float:
        """Return F1 over whole entities; or where the tags mark none, over the tags."""
        return self.task_.scores(y, self.predict_proba(X)).main


def _words(text, name):
    if isinstance(text, str):
        raise TypeError(f"{name}: expected a list of words, got one string; split it into words")
    words = list(text)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"{name}: expected words that aren't empty, got {words!r:.80}")
    return [str(word) for word in words]
