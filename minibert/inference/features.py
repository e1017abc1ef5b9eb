"""From texts to vectors: the body's output, pooled to one vector a text.

What to take is known: without fine-tuning, [CLS] is a poor vector of a sentence, worse than the
mean over its tokens (Reimers and Gurevych, 2019, table 1), and the last layer is not the best one:
for tagging names, the second-to-last gave better features, and the last four together better ones
still (Devlin et al., 2019, table 7). A model that was trained for sentences has its own way, which
its folder states and `FeatureExtractor.from_pretrained` takes.
"""

import logging
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from minibert.files import checkpoint_folder, read_json, shown
from minibert.inference.batched import for_texts
from minibert.models import Batch, BertBased, BertModel
from minibert.tokenization import WordPieceTokenizer

log = logging.getLogger("minibert")
Pooling = Literal["mean", "cls", "max", "pooler"]
Combination = Literal["concat", "sum"]


class FeatureExtractor:
    """Turns texts into vectors.

    Args:
        model: with a BERT body; a `BertModel` for the pooler.
        tokenizer: the model's.
        pooling: of the tokens' vectors: their `mean` or their `max`, [CLS] and [SEP] included; that
            of [CLS], `cls`; or what BERT's `pooler` makes of it.
        layers: which to take, one or several, as `hidden_states` numbers them: 0 is the embeddings,
            -1 the last block.
        combine: several layers: beside each other, `concat`, or their `sum`.
        normalize: scale each vector to length 1, so that a product of two is their cosine.
        max_length: longer texts are cut, in tokens; None: the model's positions.

    Raises:
        ValueError: an option that there isn't, or that doesn't fit the model.
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
        if pooling == "pooler" and (not isinstance(model, BertModel) or self.layers != [depth]):
            raise ValueError("pooling: expected a BertModel and its last layer for the pooler")
        self.max_length = longest if max_length is None else max_length
        if not 3 <= self.max_length <= longest:
            raise ValueError(f"max_length: expected 3 to {longest} tokens, got {max_length}")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, **options: Any) -> Self:
        """Read model and tokenizer from a folder, or by a name on the hub.

        Where the folder is one of sentence-transformers, its pooling, its normalisation and its
        longest text are the defaults. The truncation and the padding that a `tokenizer.json` may
        state are overruled: texts are cut at `max_length`, and padded to their batch's longest.

        Args:
            folder: as `BertModel.from_pretrained` takes it.
            options: as the class takes them.

        Raises:
            OSError, ValueError: as `BertModel.from_pretrained`, or an option that doesn't fit.
        """
        folder = checkpoint_folder(folder)
        # The body alone, unless the pooler is asked for: it need not be there.
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
        """The length of a vector."""
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
        """Return the texts' vectors, in their order: (S, width).

        Any number of threads gives the same bits; see `inference.for_texts`.

        Args:
            texts: S texts.  pairs: a second one for each; None: there are none.
            threads: how many batches to work on at a time; None: one for each core.
            progress: show a bar.

        Raises:
            TypeError, ValueError: as `WordPieceTokenizer.encode_batch`.
            FloatingPointError: a vector is not finite; its model is broken.
        """
        vectors = for_texts(
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
        """Return the vectors of a checked batch: (B, width)."""
        first_row = self.pooling in ("cls", "pooler")
        # The last block may be trimmed to [CLS]; those before it are read by the next one.
        rows = np.zeros((len(batch.input_ids), 1), np.int64) if first_row else None
        steps = self.model.steps(batch, rows=rows)
        states = {
            layer: self._pooled(x, batch.attention_mask)
            for layer, (x, _) in enumerate(islice(steps, max(self.layers) + 1))
            if layer in self.layers
        }
        chosen = [states[layer] for layer in self.layers]  # (B, D) each
        vectors = np.concatenate(chosen, axis=-1) if self.combine == "concat" else sum(chosen)
        if self.normalize:
            vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors

    def _pooled(self, x, mask):
        """Pool x (B, T, D), or (B, 1, D) of [CLS], to (B, D)."""
        if self.pooling == "cls":
            return x[:, 0]
        if isinstance(self.model, BertModel) and self.pooling == "pooler":
            return self.model.pooler.forward(self.model.params, x)[0]
        if self.pooling == "max":
            return np.where(mask[..., None] == 1, x, -np.inf).max(axis=1).astype(x.dtype)
        weights = (mask / mask.sum(axis=1, keepdims=True)).astype(x.dtype)  # (B, T)
        return (weights[:, None, :] @ x)[:, 0]  # (B, 1, T) @ (B, T, D) -> (B, 1, D) -> (B, D)


def sentence_options(folder: Path, longest: int) -> dict[str, Any]:
    """Return the options that a folder of sentence-transformers states; other folders: none.

    Args:
        folder: of the model.  longest: the model's positions, at which texts are cut in any case.

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
        log.warning(
            "%s: left out, for there is none here: %s", folder, shown(", ".join(sorted(unknown)))
        )
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


def _json(path, kind):
    """Read a file's list or object; an empty one if there is no such file."""
    return read_json(path, kind) if path.is_file() else kind()


def _require(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
