"""The estimator whose labels belong to words: `TokenTagger`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from minibert.estimators.base import Estimator
from minibert.estimators.inputs import tag_lists, word_lists
from minibert.estimators.predictions import Predictions
from minibert.tasks import Examples, TaggingTask
from minibert.tasks.base import report_unseen

log = logging.getLogger("minibert")


@dataclass(eq=False, repr=False)
class TokenTagger(Estimator):
    """Tag each word of a text; the arguments are those of `Estimator`.

    Attributes:
        classes_ (C,): the tags in the order of the probabilities, O first, then sorted.

    >>> words = [["a", "red", "fox"], ["the", "red", "hen"], ["a", "fox"], ["the", "hen"]] * 4
    >>> tags = [["O", "C", "A"], ["O", "C", "A"], ["O", "A"], ["O", "A"]] * 4
    >>> TokenTagger(epochs=20, learning_rate=2e-3).fit(words, tags).predict([["the", "fox"]])
    [['O', 'A']]
    """

    tasks: ClassVar[tuple[str, ...]] = ("tagging",)

    def fit(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> Self:
        """Train a model on lists of words with tags; return the estimator.

        Args:
            X: S lists of words.
            y: S lists of tags, one tag per word.

        Raises:
            TypeError, ValueError: words or tags are invalid, or their numbers differ.
        """
        words = word_lists(X, "X")
        tags = tag_lists(words, y)
        task = TaggingTask.from_labels(tags)
        self._set_classes(np.array(task.names))
        return self._fit(task, Examples(words, None, tags))

    def _set_classes(self, classes: np.ndarray) -> None:
        """Set the tags."""
        self.classes_ = classes

    def predict(self, X: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the most probable tag of each word of each text."""
        return self.task_.decode_outputs(self.predict_proba(X))

    def predict_proba(self, X: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return the tags' probabilities for each word of each text: S arrays (W, C)."""
        return self._outputs(word_lists(X, "X"))

    def predictions(self, X: Sequence[Sequence[str]]) -> Predictions:
        """Return the predictions with their words, to look at: marked words in a notebook.

        Each is a dict: `words`, and one of `tags` for each of them.

        Args:
            X: as in `predict`.
        """
        words = word_lists(X, "X")
        tags = self.predict(words)
        return Predictions(
            [{"words": text, "tags": own} for text, own in zip(words, tags, strict=True)]
        )

    def score(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> float:
        """Return the F1 (float) of whole entities; of single tags if they mark no entities.

        Tags that `fit` did not see count as errors, and a warning names them.
        """
        words = word_lists(X, "X")
        tags = tag_lists(words, y)
        report_unseen(self.task_.count_unseen(tags), "y")
        for note in self.task_.scoring_notes():
            log.warning("%s", note)
        return self.task_.metrics(tags, self._outputs(words)).main
