"""Cross-encoders: score pairs of texts, each pair read as one sequence.

A vector of each text can be computed once and compared with many others, but neither text sees the
other. A cross-encoder reads both at once, `[CLS] A [SEP] B [SEP]`, and is more accurate and slower,
so it reranks the best results of a search (Nogueira and Cho, 2019). Scores, names and files are
those of sentence-transformers: a model with one label has the score sigmoid(logit) unless its
folder states another activation, and one with several labels returns logits. One thing differs: a
model whose configuration states `problem_type: regression` has its number as score, because a
sigmoid would turn all numbers above 7 into 1.000. `save_pretrained` states that activation, so
sentence-transformers returns the same numbers.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from minibert.functional import softmax_forward
from minibert.inference.batched import map_texts
from minibert.inference.features import lower_cased
from minibert.inference.sentence_folders import (
    ACTIVATIONS,
    SETTINGS,
    read_settings,
    read_transformer,
)
from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.auto import AutoModelForSequenceClassification
from minibert.models.hub import CONFIG, MODULES, find_folder, pinned, read_modules
from minibert.models.unpadded import logits_of, runs_unpadded
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer
from minibert.typing import Array

Activation = Callable[[Array], Array]  # of logits (S, C)

KIND = "CrossEncoder"  # `model_type` in the settings
# What the settings of the Transformer state for pairs, and not for vectors.
PAIRS_ONLY = {
    "transformer_task": "sequence-classification",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "scores",
}
ENTRY, FIELD = "sentence_transformers", "activation_fn"  # in config.json
FORMER = "sbert_ce_default_activation_function"  # there, before version 4


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    half: Array = np.tanh(x / 2)  # does not overflow
    return (1 + half) / 2


def softmax(x: Array) -> Array:
    """Return the softmax over the last axis."""
    return softmax_forward(x.copy())[0]


SCORES: dict[str, Activation] = {**ACTIVATIONS, "Sigmoid": sigmoid, "Softmax": softmax}
PLACES = {"Identity": "torch.nn.modules.linear."}  # the modules of PyTorch's classes
PLACE = "torch.nn.modules.activation."  # of all others


def read_activation(folder: str | os.PathLike[str]) -> Activation | None:
    """Return the activation of the scores that a cross-encoder's folder states; None without one.

    Args:
        folder: a folder, or a name on the hub.

    Raises:
        OSError, ValueError: a file is invalid, or states an activation that is not supported.
    """
    name = _stated_activation(find_folder(folder))
    return None if name is None else SCORES[name]


def _stated_activation(folder: Path) -> str | None:
    """Return the name of the activation in a folder's settings, or in its config.json."""
    found: list[tuple[Path, Any]] = []
    if (folder / MODULES).is_file() and (folder / SETTINGS).is_file():
        path = folder / SETTINGS
        fields = read_json(path)
        found += [(path, fields.get(FIELD))] if fields.get("model_type") == KIND else []
    path = folder / CONFIG
    fields = read_json(path) if path.is_file() else {}
    entry = fields.get(ENTRY)
    found += [(path, entry.get(FIELD) if isinstance(entry, dict) else None)]
    found += [(path, fields.get(FORMER))]
    for path, value in found:
        if value is not None:
            place, _, name = str(value).rpartition(".")
            if not place.startswith("torch.nn") or name not in SCORES:
                raise ValueError(f"{path}: {FIELD}: expected torch.nn's {', '.join(SCORES)}, got "
                                 f"{sanitize(repr(value))}")  # fmt: skip
            return name
    return None


class CrossEncoder:
    """A model and a tokenizer that score pairs of texts.

    Args:
        model: a classifier of sequences with one label or more.
        tokenizer: the model's tokenizer.
        max_length: in tokens; longer pairs are cut; None: the model's positions.
        activation_fn: of the logits (S, C): a function, or one of the names Identity, Sigmoid,
            Softmax, Tanh, ReLU, GELU; None: Sigmoid for one label, Identity for several, and for
            a model whose `problem_type` is "regression".
        prompt: written before each first text.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        *,
        max_length: int | None = None,
        activation_fn: Activation | str | None = None,
        prompt: str = "",
    ):
        longest = model.config.longest
        self.model, self.tokenizer, self.prompt = model, tokenizer, prompt
        self.max_length = longest if max_length is None else max_length
        if not 3 <= self.max_length <= longest:
            raise ValueError(f"max_length: expected 3 to {longest} tokens, got {max_length}")
        if activation_fn is None:
            is_number = model.config.problem_type == "regression"
            activation_fn = "Sigmoid" if self.num_labels == 1 and not is_number else "Identity"
        self.activation_fn = _activation(activation_fn)

    @property
    def num_labels(self) -> int:
        """C, the number of labels."""
        return int(self.model.config.num_labels)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **options: Any
    ) -> Self:
        """Read model and tokenizer from a folder, or by a name on the hub.

        The folder may be written by sentence-transformers, whose settings are the defaults, or by
        any model with a classifier of sequences.

        Args:
            folder, revision: as in `BertModel.from_pretrained`.
            options: as the class takes them.

        Raises:
            OSError, ValueError: as there, or the folder has settings that are not supported.
        """
        folder = find_folder(pinned(folder, revision))
        modules = read_modules(folder)
        kinds = [each.kind for each in modules]
        if kinds not in ([], ["Transformer"]):
            got = sanitize(", ".join(kinds))
            raise ValueError(f"{folder / MODULES}: expected a Transformer alone, got {got}")
        place = modules[0].folder if modules else folder
        length, lower = read_transformer(place, PAIRS_ONLY) if modules else (None, False)
        prompt = read_settings(folder / SETTINGS, KIND)[1] if modules else ""
        model = AutoModelForSequenceClassification.from_pretrained(place, strict=True)
        tokenizer = AutoTokenizer.from_pretrained(place)
        if lower:
            tokenizer = lower_cased(tokenizer, place)
        lengths = length, tokenizer.model_max_length, model.config.longest
        length = next(length for length in lengths if length is not None)
        stated = {
            "max_length": min(length, model.config.longest),
            "activation_fn": _stated_activation(folder),
            "prompt": prompt,
        }
        try:
            return cls(model, tokenizer, **{**stated, **options})
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write model, tokenizer and activation, for `from_pretrained` and sentence-transformers.

        Raises:
            OSError: a file can't be written.
            ValueError: the activation is a function without a name, or there is a prompt.
        """
        names = [name for name, function in SCORES.items() if function is self.activation_fn]
        if not names:
            raise ValueError(f"activation_fn: expected one of {', '.join(SCORES)} to save, got "
                             f"{self.activation_fn!r:.80}")  # fmt: skip
        if self.prompt:
            raise ValueError("prompt: expected none to save; write it before the texts")
        self.tokenizer.save_pretrained(folder)
        self.model.save_pretrained(folder)
        path = Path(folder) / CONFIG
        entry = {FIELD: PLACES.get(names[0], PLACE) + names[0]}
        with atomic_write(path) as temporary:
            text = self.model.config.to_json(**{**read_json(path), ENTRY: entry})
            temporary.write_text(text, "utf-8")

    def predict(
        self,
        pairs: Sequence[Sequence[str]],
        *,
        activation_fn: Activation | str | None = None,
        apply_softmax: bool = False,
        threads: int | None = None,
        progress: bool = False,
    ) -> Array:
        """Return the scores of pairs, (S,) for one label, (S, C) for several.

        The result is bitwise the same for any number of threads; see `batched.map_texts`.

        Args:
            pairs: S pairs of texts.
            activation_fn: as in the class; None: that of the class.
            apply_softmax: apply a softmax to the scores of several labels.
            threads: how many batches are computed at a time; None: one for each core.
            progress: show a progress bar.

        Raises:
            TypeError: an element is not a pair of strings.
            FloatingPointError: a logit is not finite; the model's weights are broken.
        """
        activation = self.activation_fn if activation_fn is None else _activation(activation_fn)
        sides: list[list[str]] = [[], []]
        for i, pair in enumerate(pairs):
            both = [pair] if isinstance(pair, str | Mapping) else list(pair)
            if len(both) != 2 or not all(isinstance(text, str) for text in both):
                raise TypeError(f"pairs[{i}]: expected a pair of strings, got {pair!r:.80}")
            sides[0].append(self.prompt + both[0])
            sides[1].append(both[1])
        logits = map_texts(
            lambda batches: np.concatenate(logits_of(self.model, batches)),
            self.tokenizer,
            *sides,
            max_length=self.max_length,
            padded=not runs_unpadded(self.model),
            threads=threads,
            title="scoring",
            progress=progress,
        )  # (S, C)
        if not np.isfinite(logits).all():
            raise FloatingPointError("a logit is not finite: the model's weights are broken")
        scores = activation(logits)
        if self.num_labels == 1:
            return scores[:, 0]  # (S, 1) -> (S,)
        return softmax(scores) if apply_softmax else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        *,
        return_documents: bool = False,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Return the documents' numbers and scores, the highest score first.

        Args:
            query: the first text of each pair.
            documents: the second texts.
            top_k: the number of results; None: all.
            return_documents: add the documents as `text`.
            options: as in `predict`.

        Returns:
            for each result `corpus_id` (int), `score` (float) and, if asked for, `text`.

        Raises:
            TypeError, FloatingPointError: as `predict`.
            ValueError: the model has several labels, or `top_k` is below 1.
        """
        if self.num_labels != 1:
            raise ValueError(f"rank: expected a model with one label, got {self.num_labels}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k: expected at least 1, got {top_k}")
        if isinstance(documents, str):
            raise TypeError("documents: expected several, got one string; put it in a list")
        scores = self.predict([(query, document) for document in documents], **options)
        order = np.argsort(-scores, kind="stable")[:top_k].tolist()
        return [
            {"corpus_id": i, "score": float(scores[i])}
            | ({"text": documents[i]} if return_documents else {})
            for i in order
        ]


def _activation(value: Activation | str) -> Activation:
    """Return the function of a name, or the function itself."""
    if callable(value):
        return value
    if value not in SCORES:
        raise ValueError(f"activation_fn: expected one of {', '.join(SCORES)}, got {value!r}")
    return SCORES[value]
