"""A last block that writes the mean over the tokens to [CLS], so that any head reads the mean.

The mean over the tokens is the better sentence vector (Reimers and Gurevych, 2019, table 6), but
the classifiers of BERT and its relatives read [CLS]. One more block closes the gap and leaves the
model an ordinary one of its family. With queries of zero, [CLS] attends to all tokens alike; values
are the tokens themselves; the output of attention is multiplied by a large gain g, and the
feed-forward layer adds nothing:

    out = norm(norm(x_cls + g mean_t x_t) + 0) ≈ norm(mean_t x_t)

Norms without weights remove the mean of the numbers and the length of the vector, so what is
classified has the length √D. Where attention has relative positions, as in MPNet, they weight the
mean.

ModernBERT needs no such block, because its classifiers read the mean with `classifier_pooling`
"mean".
"""

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from minibert.layers import unwrapped
from minibert.models.bert import BertBased
from minibert.models.config import BertConfig
from minibert.models.families.pooled import reads_mean
from minibert.models.sentence import TrainablePooling

Kind = TypeVar("Kind", bound=BertBased)

# [CLS]'s own vector is a thousandth of the sum; a float16 holds the largest numbers still.
MEAN_GAIN = 1000.0


def has_room(config: BertConfig) -> bool:
    """Return whether one more layer has post-norm, and parameters of its own.

    An ALBERT's shares those of other layers, and a ModernBERT's, whose classifiers need none, has
    pre-norm.

    >>> from minibert import AlbertConfig
    >>> has_room(BertConfig()), has_room(AlbertConfig())
    (True, False)
    """
    if _stating_mean(config) is not None:
        return False
    longer = replace(config, num_hidden_layers=config.num_hidden_layers + 1)
    return bool(longer.num_stored_blocks == longer.num_blocks)


def can_read_mean(config: BertConfig) -> bool:
    """Return whether a classifier of texts can read the mean: by itself, or with one more block.

    >>> from minibert import AlbertConfig, ModernBertConfig
    >>> can_read_mean(ModernBertConfig()), can_read_mean(AlbertConfig())
    (True, False)
    """
    return _stating_mean(config) is not None or has_room(config)


def _stating_mean(config: BertConfig) -> BertConfig | None:
    """Return the configuration of a classifier that reads the mean; None: it cannot state that."""
    if not hasattr(config, "classifier_pooling"):
        return None
    changed: Any = {"classifier_pooling": "mean"}
    return replace(config, **changed)


def reading_mean(model: Kind) -> Kind:
    """Return a classifier that reads the mean over the tokens, with the model's parameters.

    Raises:
        ValueError: as `with_pooling_block`.
    """
    stated = _stating_mean(model.config)
    if stated is None:
        return with_pooling_block(model)
    return type(model)(stated, params=model.params)


def pooling_of(model: BertBased) -> TrainablePooling:
    """Return what the classifier of `reading_mean` reads: the mean; or [CLS], which has it."""
    return "cls" if pooling_names(model) else "mean"


def with_pooling_block(model: Kind) -> Kind:
    """Return the model with one more block, after which [CLS] has the mean of all tokens.

    >>> from minibert import BertConfig, BertForSequenceClassification
    >>> model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=100))
    >>> with_pooling_block(model).config.num_hidden_layers - model.config.num_hidden_layers
    1

    Args:
        model: of a family with BERT's block; it keeps its parameters.

    Raises:
        ValueError: the model's layers share their parameters, or have pre-norm.
    """
    if not has_room(model.config):
        raise ValueError(f"{type(model).__name__}: expected layers with post-norm and parameters "
                         "of their own")  # fmt: skip
    layers = model.config.num_hidden_layers
    config = replace(model.config, num_hidden_layers=layers + 1)
    made = type(model)(config, dtype=model.params.vector.dtype)
    for name in pooling_names(made):
        made.params[name][:] = _initial(name, config.hidden_size)
    for name, array in model.params.items():
        made.params[name][:] = array
    return made


def pooling_names(model: BertBased) -> list[str]:
    """Return the names of the parameters of the block that pools.

    Args:
        model: of `reading_mean`; one that reads the mean by itself has no such block.
    """
    if reads_mean(model.config):
        return []
    front = f"{model.prefix}encoder.layer.{model.config.num_hidden_layers - 1}."
    return [name for name in model.params if name.startswith(front)]


def without_pooling_dropout(model: BertBased) -> None:
    """Let the block that pools compute the mean without dropout, in place."""
    if not pooling_names(model):
        return
    block: Any = unwrapped(model.bert.encoder.blocks[-1])
    for residual in (block.attention, block.feed_forward):
        residual.rate = 0.0
    block.attention.sublayer.rate = 0.0


def _initial(name: str, width: int) -> Any:
    """Return the values of a parameter of the last block."""
    if name.endswith("attention.self.value.weight"):
        return np.eye(width)
    if name.endswith("attention.output.dense.weight"):
        return MEAN_GAIN * np.eye(width)
    return float(name.endswith("LayerNorm.weight"))
