"""Estimators with scikit-learn's interface: `TextClassifier`, `TextRegressor`, `TokenTagger`.

>>> texts = ["a red fox", "the red hen", "a blue sky", "the blue sea"] * 4
>>> classifier = TextClassifier().fit(texts, [0, 0, 1, 1] * 4)
>>> classifier.predict(["a red hen", "the blue sky"]).tolist()
[0, 1]

They work with scikit-learn's `Pipeline`, `cross_val_score`, `GridSearchCV` and `clone`, and do not
need scikit-learn themselves.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np

from minibert.data.rng import RandomState, seed_of
from minibert.data.splits import stratified_split
from minibert.data.targets import require_labels, require_target
from minibert.io.rows import column_names, rows_of, texts_of
from minibert.tasks import (
    Examples,
    MultiLabelTask,
    RegressionTask,
    SingleLabelTask,
    TaggingTask,
    Task,
)
from minibert.tasks.base import ClassWeight, report_unseen
from minibert.tasks.regression import MAX_LABEL
from minibert.training.finetuning import FineTuningRun, ModelSource

log = logging.getLogger("minibert")

DEV_SHARE = 0.15  # of the examples, held out for early stopping
PATIENCE = 3  # epochs without improvement, for early stopping


@dataclass(eq=False, repr=False)
class Estimator:
    """The part that the three estimators share.

    Args:
        model: the folder of a pre-trained model, its name on the hub, "tiny" for the one that is
            part of this package, or "minilm" for the one of the extra `minilm`; None: a tokenizer
            and a new model are trained on the texts.
        size: the preset of a new, untrained model, as in `BertConfig.preset`; None: "tiny"
            for tags and for pairs, else "nano".
        max_length: in tokens; longer texts are cut. None: the positions of a pre-trained model, or
            64 of a new one.
        epochs: passes over the texts; None: as `training.defaults` recommends.
        batch_size: texts in a step; None: as recommended.
        learning_rate: the highest learning rate; None: as recommended.
        layer_decay: the learning rate of each block, divided by that of the block above; None: as
            recommended.
        freeze: the embeddings and this number of the lowest blocks are not trained; None: all are.
        early_stopping: hold out 15 % of the examples, keep the weights with the best held-out
            score, and stop after three epochs without improvement.
        random_state: the random seed; or a NumPy generator that draws it; None: NumPy's global
            generator draws it.
        threads: how many cores to use; None: all, or a share in a worker of joblib (`n_jobs`). The
            result is bitwise the same.
        verbose: show a progress bar.

    Attributes:
        model_: the trained model.
        tokenizer_: its tokenizer.
        task_: its task.
        random_state_: the random seed of the fit, for `random_state`.
    """

    model: str | os.PathLike | None = None
    _: KW_ONLY
    size: str | None = None
    max_length: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    layer_decay: float | None = None
    freeze: int | None = None
    early_stopping: bool = False
    random_state: RandomState = 0
    threads: int | None = None
    verbose: bool = False

    kind: ClassVar[str | None] = None  # scikit-learn's estimator type

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name (dict); `deep` has no effect."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name; return the estimator.

        Raises:
            ValueError: the constructor has no such argument.
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
        """Return the class name with the arguments that differ from the defaults."""
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
        """Return scikit-learn's tags (`sklearn.utils.Tags`); only scikit-learn calls this."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=True, multi_output=self.kind == "classifier"),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            classifier_tags=ClassifierTags() if self.kind == "classifier" else None,
            regressor_tags=RegressorTags() if self.kind == "regressor" else None,
        )

    def _fit(self, task: Task, examples: Examples, class_weight: ClassWeight = None) -> Self:
        """Train a model on examples; set `model_`, `tokenizer_` and `task_`."""
        all_examples, held_out = examples, None
        seed = seed_of(self.random_state)
        if self.early_stopping:
            chosen = stratified_split(task.strata(examples.labels), DEV_SHARE, seed)
            examples, held_out = examples.split(chosen.tolist())
        run = FineTuningRun.start(
            task,
            examples,
            ModelSource(self.model, size=self.size, max_length=self.max_length),
            tokenizer_examples=all_examples,
            seed=seed,
            overrides=self,
            settings={
                "freeze": self.freeze,
                "class_weight": class_weight,
                "patience": PATIENCE if self.early_stopping else None,
            },
        )
        self.task_ = run.train(held_out=held_out, threads=self.threads, progress=self.verbose)
        self.model_, self.tokenizer_, self.random_state_ = run.model, run.tokenizer, seed
        return self

    def _outputs(self, texts: Sequence[Any], pairs: Sequence[str] | None = None) -> Any:
        if not self.__sklearn_is_fitted__():
            raise _not_fitted(f"this {type(self).__name__} is not fitted yet: call fit first")
        return self.task_.predict(
            self.model_, self.tokenizer_, texts, pairs, threads=self.threads, progress=self.verbose
        )


def _not_fitted(message: str) -> ValueError:
    """Return scikit-learn's `NotFittedError`, a ValueError; without scikit-learn, a ValueError."""
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return ValueError(message)
    return NotFittedError(message)


def texts_and_pairs(X: Iterable[Any]) -> tuple[list[str], list[str] | None]:
    """Return texts and second texts (lists of str); None where X has no pairs.

    >>> texts_and_pairs(["one", "two"]), texts_and_pairs([("one", "more")])
    ((['one', 'two'], None), (['one'], ['more']))

    Args:
        X: S strings; or S tuples, lists or rows of two strings; or a table with one column, such as
            a frame, a dict or an array (S, 1).

    Raises:
        TypeError: an item of X is neither, or a table has several columns.
        ValueError: X is empty, or a text is empty.
    """
    if isinstance(X, str) or not hasattr(X, "__iter__"):
        raise TypeError(f"X: expected a list of texts, got {X!r:.80}")
    texts: list[str] = []
    pairs: list[str] = []
    for i, row in enumerate(texts_of(X, "X")):
        single = isinstance(row, str)
        has_parts = hasattr(row, "__iter__") and not isinstance(row, str | Mapping | Set)
        parts = list(row) if has_parts else [row]
        if not all(isinstance(part, str) for part in parts) or len(parts) != (1 if single else 2):
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


def _label_array(X: Sized, y: Any) -> np.ndarray:
    """Return the labels of S texts as an array (S,) or (S, C)."""
    require_target(y)
    columns = column_names(y)
    if columns is not None and len(columns) > 1:
        y = np.column_stack([rows_of(y[column], "y") for column in columns])
    elif columns is not None or not hasattr(y, "__array__"):
        y = rows_of(y, "y")
    require_labels(y)
    y = np.asarray(y)
    _require_same_length(X, y)
    return y.reshape(-1) if y.shape == (len(y), 1) else y


def _require_same_length(X: Sized, y: Sized) -> None:
    if len(X) != len(y):
        raise ValueError(
            f"y: expected {len(X)} labels, one for each text, got {len(y)}: "
            "inconsistent numbers of samples"
        )


@dataclass(eq=False, repr=False)
class TextClassifier(Estimator):
    """Classify texts: one class per text, or any number of labels per text.

    Args:
        model, size, max_length, epochs, batch_size, learning_rate, layer_decay, freeze,
            early_stopping, random_state, threads, verbose: as in `Estimator`.
        class_weight: the weight of each class in the loss, by its label (1 where it is missing); or
            "balanced", as if all classes were equally frequent; None: texts count alike. Only for
            one class per text.

    Attributes:
        classes_ (C,): the labels, sorted.
        n_classes_: C.
    """

    class_weight: Mapping[Any, float] | Literal["balanced"] | None = None

    kind: ClassVar[str | None] = "classifier"

    def fit(self, X: Iterable[Any], y: Any) -> Self:
        """Train a model on labelled texts; return the estimator.

        Args:
            X: S texts, or S pairs of texts.
            y: one label per text (S,); or 0 and 1 (S, C), where a text may have several.

        Raises:
            TypeError, ValueError: texts or labels are invalid, or their numbers differ.
        """
        texts, pairs = texts_and_pairs(X)
        y = _label_array(texts, y)
        if y.dtype.kind in "fc" and not np.isfinite(y).all():
            raise ValueError("y: expected labels, got NaN or infinity")
        task, labels = (self._multi_label if y.ndim == 2 else self._single_label)(y)
        self.n_classes_ = len(self.classes_)
        return self._fit(task, Examples(texts, pairs, labels), self._weights_by_class())

    def _multi_label(self, y: np.ndarray) -> tuple[Task, list[list[str]]]:
        """Return the task and the lists of labels for indicators y (S, C)."""
        if not np.isin(y, (0, 1)).all():
            raise ValueError("y: expected 0 and 1 alone where a text may have several labels")
        if self.class_weight is not None:
            raise ValueError("class_weight: expected None where a text may have several labels")
        self.classes_ = np.arange(y.shape[1])
        task = MultiLabelTask([str(i) for i in self.classes_])
        return task, [[str(i) for i in np.flatnonzero(row)] for row in y]

    def _single_label(self, y: np.ndarray) -> tuple[Task, list[str]]:
        """Return the task and the class names for labels y (S,)."""
        if y.ndim != 1:
            raise ValueError(f"y: expected the shape ({len(y)},), got {y.shape}")
        if y.dtype.kind == "f" and (y != np.round(y)).any():
            raise ValueError("y: Unknown label type: continuous; see TextRegressor")
        self.classes_, ids = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y: expected two classes or more, got 1 class")
        task = SingleLabelTask([str(name) for name in self.classes_])
        return task, [task.names[i] for i in ids]

    def _weights_by_class(self) -> ClassWeight:
        """Return `class_weight` with a mapping replaced by a list (C,)."""
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        unknown = [label for label in self.class_weight if label not in self.classes_]
        if unknown:
            raise ValueError(f"class_weight: there is no class {unknown[0]!r} in y")
        return [float(self.class_weight.get(label, 1)) for label in self.classes_]

    def predict_proba(self, X: Iterable[Any]) -> np.ndarray:
        """Return the probability of each class for each text (S, C)."""
        return self._outputs(*texts_and_pairs(X))

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return the most probable label of each text (S,); or 0 and 1 (S, C), as in `fit`."""
        probabilities = self.predict_proba(X)
        ids = self.task_.predict_ids(probabilities)
        return self.classes_[ids] if ids.ndim == 1 else ids

    def score(self, X: Iterable[Any], y: Any) -> float:
        """Return the accuracy (float); with several labels, the share of exact matches.

        Labels that `fit` did not see count as errors, and a warning names them.
        """
        predicted = self.predict(X)
        y = _label_array(predicted, y)
        if y.shape != predicted.shape:
            raise ValueError(f"y: expected the shape {predicted.shape}, got {y.shape}")
        if y.ndim == 1:
            known = {*self.classes_.tolist()}
            report_unseen(Counter(str(name) for name in y.tolist() if name not in known), "y")
        correct = (predicted == y).reshape(len(y), -1)
        return float(correct.all(axis=1).mean())


@dataclass(eq=False, repr=False)
class TextRegressor(Estimator):
    """Predict a number for each text; the arguments are those of `Estimator`."""

    kind: ClassVar[str | None] = "regressor"

    def fit(self, X: Iterable[Any], y: Any) -> Self:
        """Train a model on texts with numbers; return the estimator.

        Args:
            X: S texts, or S pairs of texts.
            y (S,): the numbers.

        Raises:
            TypeError, ValueError: texts or numbers are invalid, or their counts differ.
        """
        texts, pairs = texts_and_pairs(X)
        y = _numbers(texts, y)
        if len(y) < 2:
            raise ValueError("y: expected two numbers or more, got n_samples = 1")
        numbers = y.tolist()
        return self._fit(RegressionTask.from_labels(numbers), Examples(texts, pairs, numbers))

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return the predicted numbers (S,)."""
        return self._outputs(*texts_and_pairs(X))

    def score(self, X: Iterable[Any], y: Any) -> float:
        """Return R² (float): 1 is perfect, 0 as good as predicting the mean."""
        predicted = self.predict(X)
        return self.task_.metrics(_numbers(predicted, y).tolist(), predicted).main


def _numbers(X: Sized, y: Any) -> np.ndarray:
    """Return the numbers of S texts as an array (S,); refuse NaN and infinity."""
    labels = _label_array(X, y)
    try:
        y = np.asarray(labels, float)
    except (TypeError, ValueError):
        raise ValueError(f"y: expected numbers, got {labels.flat[0]!r:.80}") from None
    if y.ndim != 1 or not (abs(y) <= MAX_LABEL).all():
        raise ValueError("y: expected one number for each text, got NaN, infinity or more")
    return y


@dataclass(eq=False, repr=False)
class TokenTagger(Estimator):
    """Tag each word of a text; the arguments are those of `Estimator`.

    >>> words = [["a", "red", "fox"], ["the", "red", "hen"], ["a", "fox"], ["the", "hen"]] * 4
    >>> tags = [["O", "C", "A"], ["O", "C", "A"], ["O", "A"], ["O", "A"]] * 4
    >>> TokenTagger(epochs=20, learning_rate=2e-3).fit(words, tags).predict([["the", "fox"]])
    [['O', 'A']]
    """

    def fit(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> Self:
        """Train a model on lists of words with tags; return the estimator.

        Args:
            X: S lists of words.
            y: S lists of tags, one tag per word.

        Raises:
            TypeError, ValueError: words or tags are invalid, or their numbers differ.
        """
        words = _word_lists(X, "X")
        tags = _tag_lists(words, y)
        return self._fit(TaggingTask.from_labels(tags), Examples(words, None, tags))

    def predict(self, X: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the most probable tag of each word of each text."""
        return self.task_.decode_outputs(self.predict_proba(X))

    def predict_proba(self, X: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return the tags' probabilities for each word of each text: S arrays (W, C)."""
        return self._outputs(_word_lists(X, "X"))

    def score(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> float:
        """Return the F1 (float) of whole entities; of single tags if they mark no entities.

        Tags that `fit` did not see count as errors, and a warning names them.
        """
        words = _word_lists(X, "X")
        tags = _tag_lists(words, y)
        report_unseen(self.task_.count_unseen(tags), "y")
        for note in self.task_.scoring_notes():
            log.warning("%s", note)
        return self.task_.metrics(tags, self._outputs(words)).main


def _word_lists(X: Any, name: str) -> list[list[str]]:
    """Return the words of each text, or the tags of each text's words, as lists of str."""
    if isinstance(X, str):
        raise TypeError(f"{name}: expected lists of words, got one string; split it into words")
    return [_word_list(text, f"{name}[{i}]") for i, text in enumerate(rows_of(X, name))]


def _tag_lists(words: list[list[str]], y: Any) -> list[list[str]]:
    """Return the tags of each text's words; refuse another number of texts or of tags."""
    require_target(y)
    tags = _word_lists(y, "y")
    _require_same_length(words, tags)
    for i, (text, each) in enumerate(zip(words, tags, strict=True)):
        if len(text) != len(each):
            raise ValueError(f"y[{i}]: expected {len(text)} tags, one a word, got {len(each)}")
    return tags


def _word_list(text: Any, name: str) -> list[str]:
    """Return a text's words as a list of str; refuse a string, a table or an empty word."""
    if isinstance(text, np.ndarray) and text.shape == (1,) and not isinstance(text[0], str):
        text = text[0]  # the cell of an array (S, 1)
    if isinstance(text, str):
        raise TypeError(f"{name}: expected a list of words, got one string; split it into words")
    if isinstance(text, Mapping | Set) or not hasattr(text, "__iter__"):
        raise TypeError(f"{name}: expected a list of words, got {text!r:.80}")
    words = list(text)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"{name}: expected words that aren't empty, got {words!r:.80}")
    return [str(word) for word in words]
