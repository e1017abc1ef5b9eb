"""Pre-training learns from context, and the yardsticks say what they claim."""

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM
from minibert.data.corpus import pack
from minibert.training import Settings, train_masked_lm, unigram_score
from minibert.training.pretrain import masked, score

SENTENCES = [
    "the cat sat on the mat .",
    "a dog ran under a tree !",
    "then it was red , big and red",
]


@pytest.fixture(scope="module")
def packed(tokenizer):
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


def test_it_learns_what_counts_cannot_tell(tokenizer, packed):
    rows, held_out = packed
    model = small(tokenizer)
    settings = Settings(steps=300, batch_size=16, learning_rate=1.5e-3, evaluate_every=100)
    result = train_masked_lm(model, tokenizer, rows, held_out, settings)
    _, labels = masked(held_out, tokenizer, np.random.default_rng(0))
    yardstick = unigram_score(rows, labels, tokenizer)
    assert result.loss < yardstick.loss - 1
    assert result.accuracy > yardstick.accuracy + 0.3


def test_the_score_is_the_loss_of_the_whole_in_parts(tokenizer, packed, monkeypatch):
    rows, _ = packed
    model = small(tokenizer)
    shown, labels = masked(rows, tokenizer, np.random.default_rng(1))
    monkeypatch.setattr("minibert.training.pretrain.EVALUATION_ROWS", 7)
    pad = tokenizer.pad_token_id
    out = model(shown, attention_mask=(shown != pad).astype(int), labels=labels)
    measured = score(model, shown, labels, pad)
    assert measured.loss == pytest.approx(out.loss, rel=1e-5)
    places = labels != -100
    right = out.logits.argmax(axis=-1)[places] == labels[places]
    assert measured.accuracy == pytest.approx(right.mean())


def test_the_yardstick_counts_ordinary_tokens(tokenizer):
    the, cat, dog = tokenizer.convert_tokens_to_ids(["the", "cat", "dog"])
    rows = np.array([[tokenizer.cls_token_id, the, the, the, cat, tokenizer.sep_token_id]])
    labels = np.array([[-100, the, cat, dog, the, -100]])
    ordinary = tokenizer.vocab_size - len(tokenizer.all_special_ids)
    total = 4 + ordinary  # one is added to each count
    expected = -np.mean(np.log(np.array([4, 2, 1, 4]) / total))
    measured = unigram_score(rows, labels, tokenizer)
    assert measured.loss == pytest.approx(expected)
    assert measured.accuracy == 0.5
