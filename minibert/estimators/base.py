"""The part that the three estimators share: parameters, fit, folders."""

import logging
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from minibert.data.rng import RandomState, seed_of
from minibert.data.splits import stratified_split
from minibert.io.atomic import atomic_update
from minibert.models.hub import CONFIG, checkpoint_folder, pinned
from minibert.models.weights import WEIGHTS
from minibert.tasks import Examples, Task
from minibert.tasks.base import ClassWeight, describe_long
from minibert.tasks.folders import ESTIMATOR, EstimatorFile, load_labeller
from minibert.tokenization import PreTrainedTokenizer
from minibert.training.card import Card, write_card
from minibert.training.epochs import TrainingHistory
from minibert.training.finetuning import FineTuningRun, ModelSource, Strategy, steps_for
from minibert.training.history import HISTORY, read_history, write_history

log = logging.getLogger("minibert")

DEV_SHARE = 0.15  # of the examples, held out for early stopping
PATIENCE = 3  # epochs without improvement, for early stopping
# What a task's model is called in messages, and the estimator that opens its folder.
KINDS = {
    "classification": ("a classifier", "TextClassifier"),
    "multi-label": ("a classifier of several labels", "TextClassifier"),
    "regression": ("a regressor", "TextRegressor"),
    "tagging": ("a tagger", "TokenTagger"),
}


@dataclass(eq=False, repr=False)
class Estimator:
    """The part that the three estimators share.

    Args:
        model: the folder of a pre-trained model, its name on the hub, "tiny" for the one that is
            part of this package, or "minilm" for the one of the extra `minilm`; None: a tokenizer
            and a new model are trained on the texts.
        size: the preset of a new, untrained model, as in `BertConfig.preset`; None: "tiny"
            for tags and for pairs, else "nano".
        max_length: in tokens; longer texts are cut in training, and predicted over windows (see
            `Task.predict`). None: the positions of a pre-trained model, or 64 of a new one.
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
        history_: the epochs with their losses and held-out scores (`TrainingHistory`).
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
    tasks: ClassVar[tuple[str, ...]] = ()  # names in `tasks.TASKS`

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

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a folder, as `minibert finetune` does.

        The folder contains the model, its tokenizer, the history, and `estimator.json` with the
        labels, the thresholds and the constructor's arguments (a path as it was given), as far as
        JSON can store them; and, after `fit`, a model card. `minibert predict`, `from_pretrained`
        and `transformers` open it. If a write fails, an existing folder is unchanged; its other
        files are kept.

        Args:
            folder: is created if missing.

        Raises:
            OSError: a file can't be written.
            TypeError: the labels are of a type that JSON cannot store.
            ValueError: the estimator is not fitted.
        """
        self._require_fitted()
        with atomic_update(folder, last=(WEIGHTS, CONFIG, ESTIMATOR)) as temporary:
            self.tokenizer_.save_pretrained(temporary)
            self.model_.save_pretrained(temporary)
            history: TrainingHistory | None = getattr(self, "history_", None)
            if history is not None:
                write_history(temporary, history.lines)
            seed: int | None = getattr(self, "random_state_", None)
            EstimatorFile(
                classes=getattr(self, "classes_", None),
                thresholds=self._thresholds(),
                parameters=self.get_params(),
                seed=seed,
                steps_per_epoch=None if history is None else history.steps_per_epoch,
            ).save(temporary)
            if self._card is not None:
                write_card(folder, self._card.text(folder), into=temporary)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **params: Any
    ) -> Self:
        """Return the fitted estimator of a folder, which this class or `minibert finetune` wrote.

        Labels have the type that they had in `fit`; those of the command are strings. A folder of
        another program is opened, too; then the constructor's arguments have their defaults, and
        there is no history.

        Args:
            folder: the folder, or a name on the hub.
            revision (str or None): of a name on the hub: a commit, a branch or a tag.
            params: constructor's arguments to replace, such as `threads`.

        Raises:
            OSError: a file is missing or can't be read.
            ValueError: a file is invalid, or the model is one of another estimator.
        """
        folder = pinned(folder, revision)
        return cls._from_parts(folder, *load_labeller(folder), **params)

    @classmethod
    def _from_parts(
        cls,
        folder: str | os.PathLike[str],
        task: Task,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        **params: Any,
    ) -> Self:
        """Return the estimator of a folder whose model was loaded."""
        if task.name not in cls.tasks:
            noun, owner = KINDS.get(task.name, (f"a model of the task {task.name}", ""))
            hint = f"; use {owner}.from_pretrained" if owner else ""
            raise ValueError(f"{folder}: expected a folder of {cls.__name__}, got {noun}{hint}")
        folder = checkpoint_folder(folder)
        stated = EstimatorFile.read(folder, task.names)
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in stated.parameters.items() if name in names}
        estimator = cls(**known | params)
        estimator.task_, estimator.model_, estimator.tokenizer_ = task, model, tokenizer
        estimator._card = None
        if stated.seed is not None:
            estimator.random_state_ = stated.seed
        if stated.steps_per_epoch is not None and (folder / HISTORY).is_file():
            estimator.history_ = TrainingHistory(read_history(folder), stated.steps_per_epoch)
        estimator._set_classes(np.array(task.names) if stated.classes is None else stated.classes)
        return estimator

    def _set_classes(self, classes: np.ndarray) -> None:
        """Set the attributes that name the classes (C,); a regressor has none."""

    def _thresholds(self) -> list[float] | None:
        """Return the thresholds of several labels (C,), or None."""
        thresholds = self.task_.thresholds
        return None if thresholds is None else thresholds.tolist()

    def _fit(
        self,
        task: Task,
        examples: Examples,
        class_weight: ClassWeight = None,
        strategy: Strategy = "direct",
    ) -> Self:
        """Train a model on examples; set the attributes that all estimators have.

        Examples of weight 0 are left out, so they change nothing.
        """
        if examples.weights is not None:
            examples = examples.select(np.flatnonzero(examples.weights).tolist())
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
            strategy=strategy,
            settings={
                "freeze": self.freeze,
                "class_weight": class_weight,
                "patience": PATIENCE if self.early_stopping else None,
            },
        )
        lines: list[dict[str, Any]] = []
        outputs: list[Any] = []
        self.task_ = run.train(
            held_out=held_out,
            threads=self.threads,
            progress=self.verbose,
            lines=lines,
            outputs=outputs,
        )
        self.model_, self.tokenizer_, self.random_state_ = run.model, run.tokenizer, seed
        self.history_ = TrainingHistory(lines, steps_for(len(examples), run.recipe.batch_size, 1))
        self._card: Card | None = self._make_card(run, held_out, outputs, lines)
        return self

    def _make_card(
        self,
        run: FineTuningRun,
        held_out: Examples | None,
        outputs: list[Any],
        lines: list[dict[str, Any]],
    ) -> Card:
        """Return the model card of a finished run, with the scores of held-out examples."""
        data, metrics = {"training texts": f"{len(run.examples):,} texts"}, None
        if held_out is not None:
            data["held-out texts"] = (
                f"{DEV_SHARE:.0%} of all, chosen with the seed: {len(held_out):,} texts, which "
                "choose the best weights"
            )
            metrics = self.task_.metrics(held_out.labels, *outputs)
        return Card.of_finetuning(run, data, start=self.model, lines=lines, metrics=metrics)

    def _outputs(self, texts: Sequence[Any], pairs: Sequence[str] | None = None) -> Any:
        self._require_fitted()
        long: list[int] = []
        outputs = self.task_.predict(
            self.model_, self.tokenizer_, texts, pairs,
            long=long, threads=self.threads, progress=self.verbose,
        )  # fmt: skip
        if long:
            log.warning("%s", describe_long(len(long), len(texts), self.model_.config.longest))
        return outputs

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise _not_fitted(f"this {type(self).__name__} is not fitted yet: call fit first")


def _not_fitted(message: str) -> ValueError:
    """Return scikit-learn's `NotFittedError`, a ValueError; without scikit-learn, a ValueError."""
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return ValueError(message)
    return NotFittedError(message)
