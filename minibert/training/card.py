"""Model cards: `README.md` in the folder of a run, as Hugging Face's hub shows it.

A card states how the model was made (data, recipe, seed, versions), its scores next to those of the
baselines, and how to load it. It contains no date, no path and no time, so a resumed run writes the
same card as an uninterrupted one.

Each command that trains a model writes a card when a run is finished, after its model, and
`save_pretrained` of a fitted estimator writes one with it. Code that trains and saves a model
itself calls `write_card`. The last line of a card is a checksum of the lines above it, by which
`write_card` recognizes a card that was edited: it does not overwrite one. What no run knows, such
as the license of the data, is added by hand.
"""

import json
import logging
import os
import platform
import re
import shlex
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

import minibert
from minibert.io.atomic import atomic_write, path_in_errors
from minibert.io.text import sanitize
from minibert.models import PreTrained
from minibert.models.hub import bare_name
from minibert.objectives import MaskedLM
from minibert.objectives.evaluation import MaskedLMMetrics
from minibert.objectives.supervised import SCORE
from minibert.tasks.metrics import Metrics
from minibert.training.finetuning import FineTuningRun
from minibert.training.loop import Settings
from minibert.training.recipes import PreTraining

log = logging.getLogger("minibert")

CARD, OTHER_CARD = "README.md", "README.new.md"  # the second one beside an edited card
MARK = "<!-- written by minibert, checksum "  # begins the last line
CHECKSUMS = ("tokenizer", "data", "teacher")  # fields of the settings
READER = "AutoTokenizer"  # reads the tokenizer of any family
THIS = "this model"  # in the table of scores
MAX_NAMES = 5  # of files that are listed
MAX_CLASSES = 20  # that are listed
# What Markdown reads as markup inside a line. A backslash is markup only before punctuation, and an
# underscore only at the start or end of a word.
MARKUP = re.compile(r"\\(?=[!-/:-@\[-`{-~])|[*<\[|~]|(?<![^\W_])_|_(?![^\W_])")

# What the hub calls a model's task, by the name of its class.
PIPELINES = {
    "BertForMaskedLM": "fill-mask",
    "BertForPreTraining": "fill-mask",
    "BertForSequenceClassification": "text-classification",
    "BertForTokenClassification": "token-classification",
    "BertForQuestionAnswering": "question-answering",
    "BertForMultipleChoice": "multiple-choice",
    "BertModel": "feature-extraction",
}
# The command that uses a model of a task, and a text for it; other tasks have none.
COMMANDS = {
    "fill-mask": ("fill-mask", "A {mask} of words."),
    "text-classification": ("predict", "Some text."),
    "token-classification": ("predict", "Some text."),
    "feature-extraction": ("embed", "Some text."),
}


@dataclass(frozen=True)
class Card:
    """The content of a model card.

    Args:
        model: the trained model.
        settings: the settings of the run; checksums of data and tokenizer are part of the data.
        data: the texts of the run by their role, such as `{"training texts": "a.tsv: 90 texts"}`.
        scores: the scores on held-out texts by model, that of the run first, then the baselines.
        recipe: further settings by name.
        mask_token: that of the model's tokenizer.
    """

    model: PreTrained
    settings: Settings
    data: Mapping[str, str]
    scores: Mapping[str, str]
    recipe: Mapping[str, object] = field(default_factory=dict)
    mask_token: str = "[MASK]"

    @classmethod
    def of_pretraining(
        cls,
        model: PreTrained,
        settings: PreTraining,
        data: Mapping[str, str],
        objective: MaskedLM,
        before: MaskedLMMetrics | None = None,
    ) -> Self:
        """Return the card of a pre-trained model.

        Args:
            model, settings, data: as in `Card`.
            objective: the objective of the run, with held-out sequences; its latest evaluation is
                that of the trained model.
            before: the metrics of the trained model with which the run began; None for new weights.
        """
        scores = {THIS: str(objective.result())}
        if before is not None:
            scores[f"before training ({settings.start})"] = str(before)
        scores["unigram baseline"] = str(objective.baseline)
        mask = objective.tokenizer.mask_token
        recipe = {**objective.for_card(), "optimizer": "adamw"}
        return cls(model, settings, data, scores, recipe, mask)

    @classmethod
    def of_finetuning(
        cls,
        run: FineTuningRun,
        data: Mapping[str, str],
        *,
        start: str | os.PathLike[str] | None,
        lines: Sequence[Mapping[str, Any]] = (),
        metrics: Metrics | None = None,
        others: Mapping[str, Metrics] | None = None,
    ) -> Self:
        """Return the card of a fine-tuned model.

        Args:
            run: the finished run.
            data: as in `Card`; the classes with their numbers of texts are added.
            start: the model with which the run began, as its caller named it; None: new weights.
            lines: the history of the run; without it, the number of steps taken is not stated.
            metrics: the metrics of the model on the held-out texts; they name the trivial baseline.
                None: there are none.
            others: the metrics of baselines and other models on the same texts, by name.
        """
        counts = run.task.class_counts(run.examples.labels).most_common()
        if counts:
            shown = ", ".join(f"{name} {count:,}" for name, count in counts[:MAX_CLASSES])
            more = ", ..." * (len(counts) > MAX_CLASSES)
            data = {**data, f"{len(counts)} classes": shown + more}
        scores = {}
        if metrics is not None:
            trivial, _, value = metrics.trivial_baseline().partition(": ")
            scores = {THIS: str(metrics), trivial: value}
        scores |= {name: str(each) for name, each in (others or {}).items()}
        recipe = {
            "task": run.task.name,
            "start": _describe_start(start),
            "epochs": run.recipe.epochs,
            "steps taken": _describe_steps(lines),
            "optimizer": "adamw",
        }
        return cls(run.model, run.settings, data, scores, recipe)

    def text(self, name: str | os.PathLike[str]) -> str:
        """Return the card in Markdown with a YAML header (str).

        Args:
            name (str or path): the model's folder, whose last part names the model.
        """
        title = sanitize(Path(name).resolve().name) or "model"
        data = {**self.data, **self._checksums()}
        lines = [
            *self._header(),
            f"# {_escape(title)}",
            "",
            self._architecture(),
            *_section("Use", self._usage(title)),
            *_section("Data", _table(("part", "content"), data)),
            *_section("Recipe", _table(("setting", "value"), self._recipe())),
            *(
                _section("Scores", _table(("model", "held-out texts"), self.scores))
                if self.scores
                else []
            ),
            *_section("Versions", [_versions()]),
        ]
        body = "\n".join(lines) + "\n\n"
        return f"{body}{MARK}{_checksum(body)} -->\n"

    @property
    def _pipeline(self) -> str | None:
        names = [kind.__name__ for kind in type(self.model).__mro__]
        return next((PIPELINES[name] for name in names if name in PIPELINES), None)

    def _header(self) -> list[str]:
        family = self.model.config.model_type
        task = [f"pipeline_tag: {self._pipeline}"] if self._pipeline else []
        return ["---", "library_name: minibert", *task, "tags:", f"- {family}", "---", ""]

    def _architecture(self) -> str:
        config = self.model.config
        own, blocks = config.num_stored_blocks, config.num_blocks
        shared = "" if own == blocks else f" with the parameters of {own}"
        return (
            f"`{type(self.model).__name__}`: {blocks} layers{shared}, hidden size "
            f"{config.hidden_size}, {config.num_attention_heads} heads, feed-forward size "
            f"{config.intermediate_size}, {config.vocab_size:,} tokens, at most "
            f"{config.longest} of them in a text; "
            f"{self.model.params.vector.size:,} parameters."
        )

    def _usage(self, name: str) -> list[str]:
        """Return a command and code that load the model.

        A caller's own parts are arguments, and a caller's own class is imported from its module.
        """
        kind, quoted = type(self.model).__name__, json.dumps(name, ensure_ascii=False)
        parts = self.model.parts.names()
        arguments = ", ".join([quoted, *(f"{part}={made}" for part, made in parts.items())])
        imports = [f"from minibert import {', '.join(sorted((kind, READER)))}"]
        if getattr(minibert, kind, None) is not type(self.model):
            module = type(self.model).__module__
            imports = [f"from {module} import {kind}", f"from minibert import {READER}"]
        shell = []
        if self._pipeline in COMMANDS:
            command, text = COMMANDS[self._pipeline]
            text = shlex.quote(text.format(mask=self.mask_token))
            shell = ["```sh", f"minibert {command} {shlex.quote(name)} {text}", "```", ""]
        lines = [
            *([] if parts else shell),
            "```python",
            *imports,
            "",
            f"model = {kind}.from_pretrained({arguments})",
            f"tokenizer = {READER}.from_pretrained({quoted})",
            "```",
        ]
        return lines if parts else [*lines, "", "`transformers` opens the folder, too."]

    def _checksums(self) -> dict[str, str]:
        values = {f"checksum of the {name}": getattr(self.settings, name, "") for name in CHECKSUMS}
        return {name: f"`{value}`" for name, value in values.items() if value}

    def _recipe(self) -> dict[str, object]:
        """Return the settings that decide the run's numbers, by their names."""
        config, left_out = self.model.config, {*self.settings.free, *CHECKSUMS}
        stated = {
            one.name.replace("_", " "): getattr(self.settings, one.name)
            for one in fields(self.settings)
            if one.name not in left_out
        }
        dropout = {
            "dropout of hidden states": config.hidden_dropout_prob,
            "dropout of attention weights": config.attention_probs_dropout_prob,
        }
        recipe = {**self.recipe, **stated, **dropout}
        return {name: value for name, value in recipe.items() if value not in (None, "")}


def write_card(
    folder: str | os.PathLike[str], text: str, into: str | os.PathLike[str] | None = None
) -> None:
    """Write a card to a model's folder, but never over a card that was edited.

    In that case the new card is written beside it, as `README.new.md`, and a warning names both. If
    that one was edited, too, no card is written.

    Args:
        folder (path): the folder of the model.
        text (str): the card, as `Card.text` returns it.
        into (path): a temporary folder whose files will be moved to `folder`; None: `folder`.

    Raises:
        OSError: the file can't be written, or a former card can't be read; the error names it.
    """
    path = Path(folder) / CARD
    if _is_edited(path):
        other = path.with_name(OTHER_CARD)
        if _is_edited(other):
            log.warning("%s and %s were edited and stay unchanged; no card is written", path, other)
            return
        log.warning("%s was edited and stays unchanged; the card of this run is %s", path, other)
        path = other
    with atomic_write(Path(into or folder) / path.name) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def _is_edited(path: Path) -> bool:
    return path.exists() and not is_generated(read_card(path))


def read_card(path: Path) -> str:
    """Return the text of a card.

    Raises:
        OSError: the card can't be read; the error names it.
    """
    with path_in_errors(path):
        return path.read_text("utf-8", errors="replace")


def is_generated(text: str) -> bool:
    """Return whether a card is unchanged since `Card.text` made it (bool)."""
    body, mark, end = text.rpartition(MARK)
    return bool(mark) and end == f"{_checksum(body)} -->\n"


def describe_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return the names of files without their folders, as text (str).

    >>> describe_files(["texts/a.txt", "-"])
    'a.txt, standard input'
    """
    names = ["standard input" if str(path) == "-" else Path(path).name for path in paths]
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more:,} more files" if more > 0 else "")


def _describe_start(model: str | os.PathLike[str] | None) -> str:
    """Return the name of a model without its folders, or "new weights" (str)."""
    return "new weights" if model is None else bare_name(model)


def _describe_steps(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the number of steps of a finished run, and the step of its weights (str)."""
    if not lines:
        return ""
    taken = f"{max(line['step'] for line in lines):,}"
    scores = [(line[SCORE], line["step"]) for line in lines if SCORE in line]
    if not scores:
        return taken
    return f"{taken}; the weights are those of step {max(scores)[1]:,}, the best evaluation"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _table(header: tuple[str, str], entries: Mapping[str, object]) -> list[str]:
    """Return the lines of a table of names and values."""
    pairs = [header, ("---", "---"), *entries.items()]
    return [f"| {_cell(name)} | {_cell(value)} |" for name, value in pairs]


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else _escape(sanitize(value))


def _escape(text: str) -> str:
    """Return a line of text in Markdown."""
    return MARKUP.sub(r"\\\g<0>", text)


def _versions() -> str:
    return (
        f"minibert {minibert.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}."
    )


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
