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

# Up to this width D the peak rate is that of the recipe for new weights; above, it falls with D²
# instead of D, as in fine-tuning: to 1.1e-4 for BERT-base with recipe 2, near the 1e-4 of Devlin et
# al. (2019), appendix A.2. Measured for a tiny (D = 128) of recipe 1 alone, with recipe 2, steps of
# 32 sequences of 64 tokens, one seed; held-out loss before, and after with shares of 0.004:
#     200 steps on docstrings of scikit-learn: 4.677; 2.786 with 1, 3.164 with 0.25
#     100 steps on 1,469 sentences of corpora/situations: 5.482; 3.667 with 1, 3.931 with 0.5
FULL_RATE_WIDTH = 128
# A step has about as many tokens, because a published model reads sequences of 512 tokens or more,
# of which 64 need much memory.
STEP_TOKENS = 4096
# Tokens of a sequence at most, those of BERT: for a model of thousands of positions, a few such
# sequences would be all of a small text, and the memory of attention grows with their square.
MAX_LENGTH = 512


def training_length(config: BertConfig) -> int:
    """Return the number of tokens T of the sequences on which a trained model continues.

    >>> from minibert import BertConfig
    >>> training_length(BertConfig.preset("base", vocab_size=9, max_position_embeddings=8192))
    512
    """
    return min(config.longest, MAX_LENGTH)


def continued_settings(
    recipe: PretrainingRecipe, config: BertConfig, start: str, steps: int, **changes: Any
) -> PreTraining:
    """Return the settings of a run that begins with a trained model.

    Those of the recipe, except for the peak rate of a wide model, a batch of at most about
    `STEP_TOKENS` tokens, and the first weights.

    >>> from minibert import BertConfig
    >>> from minibert.training.recipes import RECIPES
    >>> config = BertConfig.preset("base", vocab_size=30_000, max_position_embeddings=512)
    >>> settings = continued_settings(RECIPES["2"], config, "base", steps=100)
    >>> settings.batch_size, round(settings.learning_rate, 6), settings.initialization
    (8, 0.000111, 'trained')

    Args:
        recipe: the choices that no argument states.
        config: of the model.
        start: the name of the model; see `describe_start`.
        steps: number of updates.
        changes: settings with other values.
    """
    length, width = training_length(config), config.hidden_size
    values = {
        "learning_rate": recipe.rate_times_width / width * min(1.0, FULL_RATE_WIDTH / width),
        "batch_size": min(recipe.batch_size, STEP_TOKENS // length),
        "initialization": TRAINED,
        "start": start,
    }
    return recipe.settings(config, steps, **values | changes)


def describe_start(name: str, model: PreTrained) -> str:
    """Return a model's name and the checksum of its weights, for the settings of a run (str).

    >>> from minibert import BertForMaskedLM
    >>> describe_start("my model", BertForMaskedLM.from_pretrained("tiny"))[:17]
    'my model, weights'
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
