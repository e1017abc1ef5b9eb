"""Feature extraction: the hidden states of a text, pooled to one vector.

Without fine-tuning, [CLS] is a poor sentence vector, worse than the mean over the tokens (Reimers
and Gurevych, 2019, table 1), and the last layer is not the best one: for named entities, the
second-to-last layer gave better features, and the last four layers together better ones still
(Devlin et al., 2019, table 7). The folder of a model that was trained for sentences states its own
pooling, and `FeatureExtractor.from_pretrained` uses it.
"""

import logging
import os
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from minibert.inference.batched import map_texts
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models import Batch, BertBased, BertModel
from minibert.models.hub import checkpoint_folder
from minibert.tokenization import WordPieceTokenizer

log = logging.getLogger("minibert")
Pooling = Literal["mean", "cls", "max", "pooler"]
Combination = Literal["concat", "sum"]


class FeatureExtractor:
    """A model and a tokenizer that map texts to vectors.

    Args:
        model: a model with a BERT body; a `BertModel` for the pooler.
        tokenizer: the model's tokenizer.
        pooling: `mean` or `max` over the tokens, [CLS] and [SEP] included; `cls` for the vector of
            [CLS]; or `pooler` for the output of BERT's pooler.
        layers: one or several indices, as in `hidden_states`: 0 is the embeddings, -1 the last
            block.
        combine: `concat` or `sum` of several layers.
        normalize: scale each vector to length 1, so that a dot product is a cosine.
        max_length: in tokens; longer texts are cut; None: the model's positions.

    Raises:
        ValueError: an option is unknown, or does not fit the model.
    """

    def __init__(
        self,
        model: BertBased,
        tokenizer: WordPieceTokenizer,
        *,
        pooling: Pooling = "mean",
        layers: int | Sequence[int] = -1,
        combine: Combination = "concat",
        normalize: bool = False,
        max_length: int | None = None,
    ):
        _require("pooling", pooling, get_args(Pooling))
        _require("combine", combine, get_args(Combination))
        depth, longest = model.config.num_hidden_layers, model.config.max_position_embeddings
        chosen = [layers] if isinstance(layers, int) else list(layers)
        if not chosen or not all(-depth - 1 <= layer <= depth for layer in chosen):
            raise ValueError(f"layers: expected some of {-depth - 1} to {depth}, got {layers}")
        self.model, self.tokenizer = model, tokenizer
        self.pooling, self.combine, self.normalize = pooling, combine, normalize
        self.layers = [layer % (depth + 1) for layer in chosen]
        if pooling == "pooler" and (model.pooler is None or self.layers != [depth]):
            raise ValueError("pooling: expected a BertModel and its last layer for the pooler")
        self.max_length = longest if max_length is None else max_length
        if not 3 <= self.max_length <= longest:
            raise ValueError(f"max_length: expected 3 to {longest} tokens, got {max_length}")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, **options: Any) -> Self:
        """Read model and tokenizer from a folder, or by a name on the hub.

        For a folder of sentence-transformers, its pooling, its normalization and its maximum length
        are the defaults. Truncation and padding in a `tokenizer.json` are ignored: texts are cut at
        `max_length`, and padded to the longest of their batch.

        Args:
            folder: as in `BertModel.from_pretrained`.
            options: as the class takes them.

        Raises:
            OSError, ValueError: as `BertModel.from_pretrained`, or an option does not fit.
        """
        folder = checkpoint_folder(folder)
        # The body alone unless the pooler is used, because the checkpoint may not contain one.
        kind = BertModel if options.get("pooling") == "pooler" else BertBased
        model = kind.from_pretrained(folder, strict=True)
        stated = sentence_options(folder, model.config.max_position_embeddings)
        tokenizer = WordPieceTokenizer.from_pretrained(folder)
        try:
            return cls(model, tokenizer, **{**stated, **options})
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    @property
    def width(self) -> int:
        """The number of dimensions of a vector."""
        parts = len(self.layers) if self.combine == "concat" else 1
        return parts * self.model.config.hidden_size

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
        vectors = map_texts(
            lambda batch: self.vectors(self.model.check(**batch)),
            self.tokenizer,
            texts,
            pairs,
            max_length=self.max_length,
            threads=threads,
            title="embedding",
            progress=progress,
        )
        if not np.isfinite(vectors).all():
            raise FloatingPointError("a vector is not finite: the model's weights are broken")
        return vectors

    def vectors(self, batch: Batch) -> np.ndarray:
        """Return the vectors of a checked batch (B, width)."""
        states = {
            layer: self._pool(x, batch.attention_mask)
            for layer, x in self._hidden_states(batch).items()
        }
        chosen = [states[layer] for layer in self.layers]  # (B, D) each
        vectors = (
            np.concatenate(chosen, axis=-1) if self.combine == "concat" else reduce(np.add, chosen)
        )
        if self.normalize:
            vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors

    def _hidden_states(self, batch: Batch) -> dict[int, np.ndarray]:
        """Return the hidden states of each chosen layer by its index, (B, T, D) or (B, 1, D).

        Layers above the last chosen one are not computed. If only [CLS] is pooled, the last block
        is trimmed to it; the other blocks are not, because the next block reads all tokens.
        """
        first_only = self.pooling in ("cls", "pooler")
        rows = np.zeros((len(batch.input_ids), 1), np.int64) if first_only else None
        return self.model.hidden_states(batch, {*self.layers}, rows)

    def _pool(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Pool hidden states x (B, T, D), or (B, 1, D) of [CLS], to vectors (B, D)."""
        if self.pooling == "cls":
            return x[:, 0]
        if self.model.pooler is not None and self.pooling == "pooler":
            return self.model.pooler.forward(self.model.params, x)[0]
        if self.pooling == "max":
            return np.where(mask[..., None] == 1, x, -np.inf).max(axis=1).astype(x.dtype)
        weights = (mask / mask.sum(axis=1, keepdims=True)).astype(x.dtype)  # (B, T)
        return (weights[:, None, :] @ x)[:, 0]  # (B, 1, T) @ (B, T, D) -> (B, 1, D) -> (B, D)


def sentence_options(folder: Path, longest: int) -> dict[str, Any]:
    """Return the options in a folder of sentence-transformers; of other folders, none.

    Args:
        folder: the model's folder.
        longest: the model's positions, the upper limit of `max_length`.

    Raises:
        ValueError: a file is broken.
    """
    modules = _json(folder / "modules.json", list)
    if not all(isinstance(each, dict) for each in modules):
        raise ValueError(f"{folder / 'modules.json'}: expected a list of objects")
    paths = {str(each.get("type")).split(".")[-1]: str(each.get("path")) for each in modules}
    if not paths:
        return {}
    unknown = paths.keys() - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        names = sanitize(", ".join(sorted(unknown)))
        log.warning("%s: ignored, because minibert has no such module: %s", folder, names)
    stated = _json(folder / paths.get("Pooling", "") / "config.json", dict)
    modes = [key.removeprefix("pooling_mode_") for key, on in stated.items() if on is True]
    known = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
    settings = folder / "sentence_bert_config.json"
    length = _json(settings, dict).get("max_seq_length")
    if type(length) not in (int, type(None)):
        raise ValueError(f"{settings}: max_seq_length: expected an integer, got {length!r}")
    return {
        "pooling": " and ".join(known.get(mode, mode) for mode in modes),
        "normalize": "Normalize" in paths,
        "max_length": min(length or longest, longest),
    }


def _json(path: Path, kind: type) -> Any:
    """Read a JSON list or object; return an empty one if there is no such file."""
    return read_json(path, kind) if path.is_file() else kind()


def _require(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless a value is among the choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
