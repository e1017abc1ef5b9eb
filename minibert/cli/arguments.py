"""Arguments that several commands share, and the settings made of them."""

import argparse
from dataclasses import fields
from typing import Any

from minibert.models.config import BertConfig
from minibert.tokenization import WordPieceTokenizer
from minibert.training import FineTuning
from minibert.training.defaults import fresh_config


def stated_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `FineTuning` that the options state."""
    names = {field.name for field in fields(FineTuning)} - {"tokenizer", "data"}
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def new_config(
    options: argparse.Namespace, tokenizer: WordPieceTokenizer, length: int
) -> BertConfig:
    """Return the configuration of a new model, as the options want it, or so many tokens long."""
    return fresh_config(
        options.size or "tiny",
        tokenizer,
        length if options.length is None else options.length,
        hidden_act=options.activation or "gelu",
        position_embedding_type=options.positions or "absolute",
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
    )
