"""A tiny language of three sentences, and a model for it."""

import numpy as np

from minibert import BertConfig, BertForMaskedLM
from minibert.data.corpus import pack

SENTENCES = [
    "the cat sat on the mat .",
    "a dog ran under a tree !",
    "then it was red , big and red",
]


def packed_language(tokenizer):
    """Return sequences to train on and held-out ones, (S, 16) each."""
    rng = np.random.default_rng(0)
    documents = [[str(text) for text in rng.choice(SENTENCES, 3)] for _ in range(300)]
    return pack(documents[:200], tokenizer, 16), pack(documents[200:], tokenizer, 16)


def small(tokenizer):
    return BertForMaskedLM(
        BertConfig.preset(
            "tiny",
            vocab_size=tokenizer.vocab_size,
            hidden_size=64,
            max_position_embeddings=16,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
        )
    )
