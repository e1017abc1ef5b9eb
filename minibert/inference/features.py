"""Feature extraction: the hidden states of a text, pooled to one vector.

Without fine-tuning, [CLS] is a poor sentence vector, worse than the mean over the tokens (Reimers
and Gurevych, 2019, table 1), and the last layer is not the best one: for named entities, the
second-to-last layer gave better features, and the last four layers together better ones still
(Devlin et al., 2019, table 7). The folder of a model that was trained for sentences states its own
pooling, and `FeatureExtractor.from_pretrained` uses it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import reduce
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np

from minibert.inference.batched import map_texts
from minibert.inference.sentence_folders import Projection, read_sentence_folder, unit_length
from minibert.io.rows import texts_and_pairs, texts_of
from minibert.models import Batch, BertBased, read_config
from minibert.models.hub import find_folder, pinned
from minibert.models.pooling import mean_pooling_forward
from minibert.models.table import family_class
from minibert.models.unpadded import hidden_states_of, runs_unpadded
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer, WordPieceTokenizer

Pooling = Literal[
    "mean", "cls", "max", "pooler", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"
]
Combination = Literal["concat", "sum"]


class Opened(NamedTuple):
    """What the folder of a model contains; options are those that it states."""

    model: Any
    tokenizer: PreTrainedTokenizer
    options: Mapping[str, Any]
    prompts: Mapping[str, str]


# Options that are neither given nor stated by a folder.
DEFAULTS: dict[str, Any] = {
    "pooling": "mean",
    "projections": (),
    "normalize": False,
    "max_length": None,
    "prompt": "",
    "include_prompt": True,
}


class FeatureExtractor:
    """A model and a tokenizer that map texts to vectors; also a transformer of scikit-learn.

    In a `Pipeline` it is a step before a classifier. `clone` shares the model, whose weights it
    only reads.

    >>> extractor = FeatureExtractor("tiny", pooling="max")
    >>> extractor.transform(["sort a list", "open a file"]).shape
    (2, 128)
    >>> extractor.set_params(pooling="mean")
    FeatureExtractor(model='tiny', pooling='mean')

    Args:
        model: a model with a BERT body, a `BertModel` for the pooler; or the folder of a model or
            its name, as in `from_pretrained`.
        tokenizer: the model's tokenizer; None for a folder, which contains one.
        pooling: `mean` or `max` over the tokens, [CLS] and [SEP] included; `cls` for the vector of
            [CLS]; or `pooler` for the output of BERT's pooler. Also sentence-transformers' other
            modes: `mean_sqrt_len_tokens`, the sum divided by the root of the number of tokens;
            `weightedmean`, weighted with 1, 2, 3, ...; and `lasttoken`. Several are concatenated.
            None: as the folder states, else `mean`.
        layers: one or several indices, as in `hidden_states`: 0 is the embeddings, -1 the last
            block.
        combine: `concat` or `sum` of several layers.
        projections: functions of the pooled vectors (B, D), applied in this order; None: as the
            folder states, else none.
        normalize: scale each vector to length 1, so that a dot product is a cosine; None: as the
            folder states, else not.
        max_length: in tokens; longer texts are cut; None: as the folder states, else the model's
            positions.
        prompt: written before each text; None: as the folder states, else nothing.
        include_prompt: whether the tokens of [CLS] and the prompt are pooled too; None: as the
            folder states, else they are.

    Attributes:
        prompts: the folder's prompts by name (dict), for `encode`.
        width: the number of dimensions of a vector.

    Raises:
        OSError: a file is missing or can't be read.
        TypeError: a tokenizer is missing.
        ValueError: an option is unknown, or does not fit the model; or as `from_pretrained`.
    """

    def __init__(
        self,
        model: BertBased | str | os.PathLike[str],
        tokenizer: PreTrainedTokenizer | None = None,
        *,
        pooling: Pooling | Sequence[Pooling] | None = None,
        layers: int | Sequence[int] = -1,
        combine: Combination = "concat",
        projections: Sequence[Projection] | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        prompt: str | None = None,
        include_prompt: bool | None = None,
    ):
        options = {
            "pooling": pooling, "layers": layers, "combine": combine, "projections": projections,
            "normalize": normalize, "max_length": max_length, "prompt": prompt,
            "include_prompt": include_prompt,
        }  # fmt: skip
        self._start({"model": model, "tokenizer": tokenizer, **options}, None)

    def _start(self, given: dict[str, Any], opened: Opened | None) -> None:
        """Set all attributes from the constructor's arguments.

        Args:
            given: the arguments by name.
            opened: the content of the folder that the arguments name, if it was read before.
        """
        model, tokenizer = given["model"], given["tokenizer"]
        is_named = isinstance(model, str | os.PathLike)
        if is_named and tokenizer is not None:
            raise ValueError(f"tokenizer: leave it out; that of {model} is used")
        if not is_named and tokenizer is None:
            raise TypeError("tokenizer: expected the tokenizer of the model, got None")
        if opened is None:
            opened = open_folder(model, given) if is_named else Opened(model, tokenizer, {}, {})
        stated = {name: value for name, value in given.items() if value is not None}
        chosen = {**DEFAULTS, **opened.options, **stated}
        del chosen["model"]
        chosen.pop("tokenizer", None)
        try:
            self._choose(opened.model, opened.tokenizer, **chosen)
        except ValueError as error:
            raise ValueError(f"{model}: {error}" if is_named else str(error)) from None
        self.prompts = dict(opened.prompts)
        self._given, self._opened = given, opened

    def _choose(
        self,
        model: BertBased,
        tokenizer: PreTrainedTokenizer,
        *,
        pooling: Pooling | Sequence[Pooling],
        layers: int | Sequence[int],
        combine: Combination,
        projections: Sequence[Projection],
        normalize: bool,
        max_length: int | None,
        prompt: str,
        include_prompt: bool,
    ) -> None:
        """Check the options and set the attributes that they decide."""
        several = isinstance(pooling, list | tuple)
        self.modes: list[Any] = list(pooling) if several else [pooling]
        for mode in self.modes or [pooling]:
            _require("pooling", mode, get_args(Pooling))
        _require("combine", combine, get_args(Combination))
        depth, longest = model.config.num_blocks, model.config.longest
        chosen = np.ravel(layers).tolist()
        is_known = [type(layer) is int and -depth - 1 <= layer <= depth for layer in chosen]
        if not chosen or not all(is_known):
            raise ValueError(f"layers: expected some of {-depth - 1} to {depth}, got {layers}")
        self.model, self.tokenizer = model, tokenizer
        self.pooling, self.combine, self.normalize = pooling, combine, normalize
        self.projections = list(projections)
        self.layers = [layer % (depth + 1) for layer in chosen]
        if "pooler" in self.modes and (model.pooler is None or self.layers != [depth]):
            raise ValueError("pooling: expected a model with a pooler, and its last layer")
        self.max_length = longest if max_length is None else max_length
        if not 3 <= self.max_length <= longest:
            raise ValueError(f"max_length: expected 3 to {longest} tokens, got {max_length}")
        self.include_prompt = include_prompt
        self._set_prompt(prompt)
        with np.errstate(all="ignore"):  # broken weights are reported when there are texts
            self.width = self._project(np.ones((1, self._pooled_width), np.float32)).shape[-1]

    def _set_prompt(self, prompt: str) -> None:
        self.prompt = prompt
        self.skipped = 0  # tokens of each text that are not pooled: [CLS] and the prompt
        if prompt and not self.include_prompt:
            encoding = self.tokenizer.encode(prompt, max_length=self.max_length)
            self.skipped = len(encoding.input_ids) - 1

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike, *, revision: str | None = None, **options: Any
    ) -> Self:
        """Read model and tokenizer from a folder, or by a name on the hub.

        For a folder of sentence-transformers, its modules and settings are the defaults, so the
        vectors are the same; see `sentence_folders`. The default of `max_length` is the tokenizer's
        `model_max_length`, but at most the model's positions. Truncation and padding in a
        `tokenizer.json` are ignored: texts are cut at `max_length`, and padded to the longest of
        their batch.

        Args:
            folder, revision: as in `BertModel.from_pretrained`.
            options: as the class takes them.

        Raises:
            OSError, ValueError: as `BertModel.from_pretrained`, or an option does not fit.
        """
        return cls(pinned(folder, revision), **options)

    # As a transformer of scikit-learn

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Return the extractor: there is nothing to learn."""
        return self

    def transform(self, X: Iterable[Any]) -> np.ndarray:
        """Return the vectors (S, width) of S texts or S pairs of texts, as the estimators read X.

        Raises:
            TypeError, ValueError: as `texts_and_pairs`.
            FloatingPointError: as in a call.
        """
        return self(*texts_and_pairs(X))

    def fit_transform(self, X: Iterable[Any], y: Any = None) -> np.ndarray:
        """Return `transform(X)`."""
        return self.transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the dimensions (width,): featureextractor0 and so on."""
        return np.array([f"featureextractor{i}" for i in range(self.width)], object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name (dict); `deep` has no effect."""
        return dict(self._given)

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name; return the extractor.

        Raises:
            OSError, ValueError: the constructor has no such argument, or as the constructor.
        """
        for name in params:
            if name not in self._given:
                known = ", ".join(self._given)
                raise ValueError(
                    f"{name}: no such parameter of {type(self).__name__}, expected one of {known}"
                )
        # A folder is read again for another model, or for one with a pooler.
        keeps = not {"model", "tokenizer", "pooling"} & params.keys()
        changed = copy(self)  # the extractor stays as it is if an argument is refused
        changed._start({**self._given, **params}, self._opened if keeps else None)
        vars(self).update(vars(changed))
        return self

    def __repr__(self) -> str:
        """Return the class name with the arguments that differ from the defaults."""
        plain: dict[str, Any] = {"layers": -1, "combine": "concat"}
        given = [
            f"{name}={value!r}"
            for name, value in self._given.items()
            if value is not None and not (name in plain and np.array_equal(plain[name], value))
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def __sklearn_clone__(self) -> Self:
        """Return a copy that shares the model."""
        return copy(self)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True, because there is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags (`sklearn.utils.Tags`); only scikit-learn calls this."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            requires_fit=False,
        )

    # As a model of sentence-transformers

    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = False,
    ) -> np.ndarray:
        """Return the vectors of texts (S, width), or of one text (width,).

        The names are those of sentence-transformers.

        Args:
            sentences: S texts; or one, a string.
            prompt_name: the name of one of `prompts`, which is written before each text.
            prompt: the prompt itself; None: that of the name, else the default.
            batch_size: the number of texts that are tokenized and computed at a time, which bounds
                the memory; None: all. The batches of the model are chosen by their tokens.
            show_progress_bar: show a progress bar.
            normalize_embeddings: scale each vector to length 1.

        Raises:
            TypeError, ValueError: as in a call; or there is no such prompt.
            FloatingPointError: as in a call.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if prompt is None and prompt_name is not None:
            if prompt_name not in self.prompts:
                known = ", ".join(self.prompts) or "none, the model has no prompts"
                raise ValueError(f"prompt_name: expected one of {known}, got {prompt_name!r}")
            prompt = self.prompts[prompt_name]
        prompted = self
        if prompt is not None and prompt != self.prompt:
            prompted = copy(self)
            prompted._set_prompt(prompt)
        rows = [sentences] if isinstance(sentences, str) else texts_of(sentences, "sentences")
        size = batch_size or max(len(rows), 1)
        blocks = [
            prompted(rows[i : i + size], progress=show_progress_bar)
            for i in range(0, max(len(rows), 1), size)
        ]
        vectors = np.concatenate(blocks)
        if normalize_embeddings:
            vectors = unit_length(vectors)
        return vectors[0] if isinstance(sentences, str) else vectors

    @property
    def _pooled_width(self) -> int:
        """The number of dimensions of a pooled vector."""
        parts = len(self.layers) if self.combine == "concat" else 1
        return parts * len(self.modes) * self.model.config.hidden_size

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        threads: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Return the vectors of all texts, in order (S, width).

        The result is bitwise the same for any number of threads; see `batched.map_texts`.

        Args:
            texts: S texts.
            pairs: S second texts, or None.
            threads: how many batches are computed at a time; None: one for each core.
            progress: show a progress bar.

        Raises:
            TypeError, ValueError: as `WordPieceTokenizer.encode_batch`.
            FloatingPointError: a vector is not finite; the model's weights are broken.
        """
        if self.prompt and not isinstance(texts, str):  # which is refused
            rows = texts_of(texts, "texts")
            texts = [self.prompt + row if isinstance(row, str) else row for row in rows]
        vectors = map_texts(
            lambda batches: self.vectors([self.model.check(**batch) for batch in batches]),
            self.tokenizer,
            texts,
            pairs,
            max_length=self.max_length,
            threads=threads,
            padded=not runs_unpadded(self.model),
            title="embedding",
            progress=progress,
        )
        if not np.isfinite(vectors).all():
            raise FloatingPointError("a vector is not finite: the model's weights are broken")
        return vectors

    def vectors(self, batches: Sequence[Batch]) -> np.ndarray:
        """Return the vectors of checked batches, one batch after the other (S, width).

        Args:
            batches: of (B, T), each of its own B and T; several only if the model runs unpadded.
        """
        pooled = []
        for batch, found in zip(batches, self._hidden_states(batches), strict=True):
            states = {layer: self._pool(x, batch.attention_mask) for layer, x in found.items()}
            chosen = [states[layer] for layer in self.layers]  # (B, D) each
            concat = self.combine == "concat"
            pooled.append(np.concatenate(chosen, axis=-1) if concat else reduce(np.add, chosen))
        return self._project(np.concatenate(pooled))

    def _project(self, vectors: np.ndarray) -> np.ndarray:
        """Apply the projections and the normalization to pooled vectors (B, D)."""
        for project in self.projections:
            vectors = project(vectors)
        return unit_length(vectors) if self.normalize else vectors

    def _hidden_states(self, batches: Sequence[Batch]) -> list[dict[int, np.ndarray]]:
        """Return each batch's states of the chosen layers by index, (B, T, D) or (B, 1, D).

        Layers above the last chosen one are not computed. If only [CLS] is pooled, the last block
        is trimmed to it; the other blocks are not, because the next block reads all tokens.
        """
        first_only = not self.skipped and {*self.modes} <= {"cls", "pooler"}
        rows = [np.zeros((len(batch.input_ids), 1), np.int64) for batch in batches]
        return hidden_states_of(self.model, batches, {*self.layers}, rows if first_only else None)

    def _pool(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Pool hidden states x (B, T, D), or (B, 1, D) of [CLS], to vectors (B, modes · D)."""
        pooled = [self._pool_by(mode, x, mask) for mode in self.modes]
        return pooled[0] if len(pooled) == 1 else np.concatenate(pooled, axis=-1)

    def _pool_by(self, mode: Pooling, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Pool by one mode: (B, T, D) -> (B, D)."""
        if self.model.pooler is not None and mode == "pooler":
            return self.model.pooler.forward(self.model.params, x)[0]
        positions = np.arange(mask.shape[1])  # (T,)
        mask = mask * (positions >= self.skipped)  # (B, T), 1 for a token that is pooled
        if mode == "cls":
            return x[np.arange(len(x)), mask.argmax(axis=1)]
        if mode == "lasttoken":
            return x[np.arange(len(x)), (mask * positions).argmax(axis=1)]
        if mode == "max":
            return np.where(mask[..., None] == 1, x, -np.inf).max(axis=1).astype(x.dtype)
        if mode == "mean_sqrt_len_tokens":
            root = np.sqrt(np.maximum(mask.sum(axis=1, keepdims=True), 1))  # (B, 1)
            weights = (mask / root).astype(x.dtype)  # (B, T)
            return (weights[:, None, :] @ x)[:, 0]  # (B, 1, T) @ (B, T, D) -> (B, 1, D) -> (B, D)
        weights = mask * (positions + 1) if mode == "weightedmean" else mask  # (B, T)
        return mean_pooling_forward(x, weights)[0]


def open_folder(name: str | os.PathLike[str], given: Mapping[str, Any]) -> Opened:
    """Read model, tokenizer and settings of a folder, as `FeatureExtractor.from_pretrained` does.

    Args:
        name: as in `BertModel.from_pretrained`.
        given: the options of the extractor.

    Raises:
        OSError, ValueError: as `BertModel.from_pretrained`.
    """
    folder = find_folder(name)
    stated = read_sentence_folder(folder)
    # The body alone unless the pooler is used, because the checkpoint may not contain one.
    has_pooler = "pooler" in (given.get("pooling") or ())  # the name, or a list with it
    family = read_config(stated.transformer).model_type
    kind = family_class(family, "Model" if has_pooler else "Based")
    model = kind.from_pretrained(stated.transformer, strict=True)
    tokenizer = AutoTokenizer.from_pretrained(stated.transformer)
    longest = model.config.longest
    if stated.do_lower_case:  # as a step of its own
        tokenizer = lower_cased(tokenizer, stated.transformer)
    lengths = stated.max_length, tokenizer.model_max_length, longest
    length = next(length for length in lengths if length is not None)
    options = {"max_length": min(length, longest), **stated.options}
    return Opened(model, tokenizer, options, stated.prompts)


def _require(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless a value is among the choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def lower_cased(tokenizer: PreTrainedTokenizer, folder: Path) -> PreTrainedTokenizer:
    """Return the tokenizer of a folder with lower case as a step of its own."""
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise ValueError(
            f"{folder}: do_lower_case: expected false or a WordPieceTokenizer, got a "
            f"{type(tokenizer).__name__}"
        )
    if tokenizer.normalizer.do_lower_case:
        return tokenizer
    accents = bool(tokenizer.normalizer.strip_accents)
    return AutoTokenizer.from_pretrained(folder, do_lower_case=True, strip_accents=accents)
