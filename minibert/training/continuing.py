"""Continued pre-training: a trained model learns the language of another text.

Gururangan et al. (2020), section 3, call it domain-adaptive pre-training: a model that continues
masked language modelling on the texts of a domain classifies them better afterwards.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minibert.models import PreTrained
from minibert.models.config import BertConfig
from minibert.parameters import Parameters
from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.widening import with_new_words
from minibert.training.recipes import TRAINED, PreTraining, PretrainingRecipe

# The peak rate, relative to that of the recipe for new weights.
RATE_SHARE = 0.25
# A step has about as many tokens, because a published model reads sequences of 512 tokens or more,
# of which 64 need much memory.
STEP_TOKENS = 4096
MIN_BATCH = 4


def continued_settings(
    recipe: PretrainingRecipe, config: BertConfig, start: str, steps: int, **changes: Any
) -> PreTraining:
    """Return the settings of a run that begins with a trained model.

    Those of the recipe, except for a lower peak rate, a batch of about `STEP_TOKENS` tokens, and
    the first weights.

    >>> from minibert import BertConfig
    >>> from minibert.training.recipes import RECIPES
    >>> config = BertConfig.preset("base", vocab_size=30_000, max_position_embeddings=512)
    >>> settings = continued_settings(RECIPES["2"], config, "base", steps=100)
    >>> settings.batch_size, settings.initialization
    (8, 'trained')

    Args:
        recipe: the choices that no argument states.
        config: of the model.
        start: the name of the model; see `describe_start`.
        steps: number of updates.
        changes: settings with other values.
    """
    length = config.max_position_embeddings
    values = {
        "learning_rate": RATE_SHARE * recipe.rate_times_width / config.hidden_size,
        "batch_size": min(recipe.batch_size, max(STEP_TOKENS // length, MIN_BATCH)),
        "initialization": TRAINED,
        "start": start,
    }
    return recipe.settings(config, steps, **values | changes)


def describe_start(name: str, model: PreTrained) -> str:
    """Return a model's name and the checksum of its weights, for the settings of a run (str).

    >>> from minibert import BertForMaskedLM
    >>> describe_start("tiny", BertForMaskedLM.from_pretrained("tiny"))
    'tiny, weights ...'
    """
    return f"{name}, weights {zlib.crc32(model.params.vector.data):08x}"


def widen(
    model: Any, tokenizer: WordPieceTokenizer, words: Mapping[str, Iterable[int]]
) -> WordPieceTokenizer:
    """Add words to a model, in place, and return a tokenizer with them.

    The row of a new word, in each table with a row per token, is the mean of the rows of the pieces
    that it consisted of, and so is its bias in the head: so the model reads the word nearly as
    before. That of a word with unknown letters is the mean of all rows.

    Args:
        model: a model with the tokens of `tokenizer`, or more.
        tokenizer: its tokenizer, which stays as it is.
        words: the pieces (int) of each normalized word, as `read_new_words` returns them.

    Raises:
        ValueError: a word is in the vocabulary.
    """
    wide = with_new_words(tokenizer, words)
    tables = tables_of_tokens(model)
    if len(wide) > model.config.vocab_size:  # otherwise the model has unused rows
        model.resize_token_embeddings(len(wide))
    for name in tables:
        table = model.params[name]  # (V, D), or (V,)
        everything = table[: len(tokenizer)].mean(axis=0, dtype=np.float64)
        for word, pieces in words.items():
            known = list(pieces)
            is_known = tokenizer.unk_token_id not in known
            row = table[known].mean(axis=0, dtype=np.float64) if is_known else everything
            table[wide.vocab[word]] = row
    model.vocabulary = None  # the checksum of the old tokenizer
    return wide


def tables_of_tokens(model: Any) -> list[str]:
    """Return the names of the parameters that have a row, or a number, for each token.

    >>> from minibert import BertForMaskedLM
    >>> tables_of_tokens(BertForMaskedLM.from_pretrained("tiny"))
    ['bert.embeddings.word_embeddings.weight', 'cls.predictions.bias']
    """
    config = replace(model.config, vocab_size=model.config.vocab_size + 1)
    larger = type(model)(config, params=Parameters({}), **model.parts.given()).shapes()
    return [name for name, shape in model.shapes().items() if larger[name] != shape]
