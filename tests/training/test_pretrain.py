"""Pre-training learns from context, and the yardsticks say what they claim."""

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining
from minibert.data.corpus import PackedSequences, pack
from minibert.data.masking import mask_sequences
from minibert.data.next_sentence import next_sentence_pairs
from minibert.objectives import MaskedLM, MaskedLMAndNextSentence
from minibert.objectives.baselines import count_tokens, unigram_baseline
from minibert.objectives.evaluation import masked_lm_metrics, next_sentence_accuracy
from minibert.objectives.text_warnings import warn_of_text
from minibert.training import Settings, train_masked_lm
from minibert.training.pretraining import steps_in

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
    _, labels = mask_sequences(held_out, tokenizer, np.random.default_rng(0))
    yardstick = unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer)
    assert result.loss < yardstick.loss - 1
    assert result.accuracy > yardstick.accuracy + 0.3


def test_the_score_is_the_loss_of_the_whole_in_parts(tokenizer, packed, monkeypatch):
    rows, _ = packed
    model = small(tokenizer)
    shown, labels = mask_sequences(rows, tokenizer, np.random.default_rng(1))
    monkeypatch.setattr("minibert.objectives.evaluation.EVALUATION_ROWS", 7)
    pad = tokenizer.pad_token_id
    out = model(shown, attention_mask=(shown != pad).astype(int), labels=labels)
    measured = masked_lm_metrics(model, shown, labels, pad)
    assert measured.loss == pytest.approx(out.loss, rel=1e-5)
    places = labels != -100
    right = out.logits.argmax(axis=-1)[places] == labels[places]
    assert measured.accuracy == pytest.approx(right.mean())
    model.params["cls.predictions.bias"][0] = 1e3  # always says [PAD], which is never hidden
    assert masked_lm_metrics(model, shown, labels, pad).accuracy == 0


def test_the_share_of_known_pairs_is_that_of_a_call(tokenizer, packed):
    model = BertForPreTraining(small(tokenizer).config)
    rng = np.random.default_rng(0)
    model.params.vector[:] += rng.normal(0, 0.3, model.params.vector.size)
    rows, pad = packed[0], tokenizer.pad_token_id
    ids, types, labels = next_sentence_pairs(rows, np.arange(len(rows)), tokenizer, rng)
    mask = (ids != pad).astype(int)
    shares = [
        float((model(ids, each, mask).seq_relationship_logits.argmax(axis=-1) == labels).mean())
        for each in (types, 0 * types)
    ]
    assert shares[0] != shares[1]  # the segments matter
    assert next_sentence_accuracy(model, ids, types, labels, pad) == pytest.approx(shares[0])


def test_the_yardstick_counts_ordinary_tokens(tokenizer):
    the, cat, dog = tokenizer.convert_tokens_to_ids(["the", "cat", "dog"])
    rows = np.array([[tokenizer.cls_token_id, the, the, the, cat, tokenizer.sep_token_id]])
    labels = np.array([[-100, the, cat, dog, the, -100]])
    ordinary = tokenizer.vocab_size - len(tokenizer.all_special_ids)
    total = 4 + ordinary  # one is added to each count
    expected = -np.mean(np.log(np.array([4, 2, 1, 4]) / total))
    measured = unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer)
    assert measured.loss == pytest.approx(expected)
    assert measured.accuracy == 0.5


def test_a_model_that_is_no_better_than_counts_is_warned_of_once(tokenizer, packed, caplog):
    rows, held_out = packed
    settings = Settings(steps=10, batch_size=4, learning_rate=1e-9, evaluate_every=1)
    train_masked_lm(small(tokenizer), tokenizer, rows, held_out, settings)
    warnings = [record.message for record in caplog.records if "warning" in record.message]
    assert len(warnings) == 1
    assert "after 5 of 10 steps the held-out loss" in warnings[0]


def test_texts_that_teach_little_are_warned_of(tokenizer, caplog):
    warn_of_text(0.1, 10**6, tokenizer, 99)
    assert not caplog.records
    warn_of_text(0.5, 100, tokenizer, 400)
    times, lines, few = (record.message for record in caplog.records)
    assert "400 times through the text" in times
    assert "50% of the lines" in lines
    assert f"100 tokens are few for a vocabulary of {len(tokenizer)} pieces" in few


def test_a_budget_of_minutes_leaves_the_model_alone(tokenizer, packed, monkeypatch):
    model = small(tokenizer)
    before = model.params.vector.copy()
    ticks = iter(range(1000))
    monkeypatch.setattr("minibert.training.pretraining.time.perf_counter", lambda: next(ticks))
    settings = Settings(steps=1, batch_size=4)
    objective = MaskedLM(model, tokenizer, packed[0], None, settings)
    assert steps_in(2, model, objective, settings) == 120  # a second each
    assert (model.params.vector == before).all()


def test_each_step_and_each_seed_hides_other_tokens(tokenizer, packed):
    rows = np.repeat(packed[0][:1], 4, axis=0)  # the same in any order, and a step is an epoch
    hidden = {
        objective.shards(step)[0][1].tobytes()
        for seed in (0, 1)
        for objective in [MaskedLM(small(tokenizer), tokenizer, rows, None,
                                   Settings(steps=9, batch_size=4, shards=1, seed=seed))]
        for step in range(4)
    }  # fmt: skip
    assert len(hidden) == 8


def test_each_step_pairs_anew(tokenizer, packed):
    model = BertForPreTraining(small(tokenizer).config)
    settings = Settings(steps=9, batch_size=8, shards=1)
    objective = MaskedLMAndNextSentence(model, tokenizer, packed[0][:8], None, settings)
    steps = [objective.shards(step)[0] for step in range(6)]
    pairs = {tuple(sorted(labels["next_sentence_label"].tolist())) for _, labels in steps}
    assert len(pairs) > 1
    for batch, labels in steps:
        assert (batch["token_type_ids"].max(axis=1) == 1).all()  # the second segment's
        places = labels["labels"] != -100
        assert (batch["attention_mask"][places] == 1).all()


@pytest.mark.parametrize("change", [{"clip": 1e-3}, {"weight_decay": 0.5}, {"seed": 1}])
def test_each_setting_reaches_the_pretraining(tokenizer, packed, change):
    rows, held_out = packed

    def trained(**settings):
        model = small(tokenizer)
        train_masked_lm(model, tokenizer, rows, held_out[:4],
                        Settings(**{"steps": 3, "batch_size": 4, **settings}))  # fmt: skip
        return model.params.vector

    assert (trained() == trained()).all()
    assert (trained() != trained(**change)).any()


def test_counting_leaves_the_counts_alone(tokenizer, packed):
    stream = packed[0].reshape(-1)
    known = np.bincount(stream, minlength=len(tokenizer))
    kept = known.copy()
    counts = count_tokens(PackedSequences(stream, tokenizer, 16, known), tokenizer)
    assert (known == kept).all()
    assert (counts == count_tokens(packed[0], tokenizer)).all()
    before = counts.copy()
    unigram_baseline(counts, np.array([[7, -100]]), tokenizer)
    assert (counts == before).all()


def test_pairs_are_learned_beside_the_tokens(tokenizer, packed):
    rows, held_out = packed
    model = BertForPreTraining(small(tokenizer).config)
    before = model.params["cls.seq_relationship.weight"].copy()
    settings = Settings(steps=300, batch_size=16, learning_rate=1.5e-3)
    result = train_masked_lm(model, tokenizer, rows, held_out, settings)
    assert (model.params["cls.seq_relationship.weight"] != before).any()
    _, labels = mask_sequences(held_out, tokenizer, np.random.default_rng(0))
    assert (
        result.loss < unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer).loss - 0.5
    )
    # In a language of three sentences many a wrong half fits too.
    assert result.next_sentence > 0.55
    pairs = next_sentence_pairs(
        held_out, np.arange(len(held_out)), tokenizer, np.random.default_rng(1)
    )
    wrong = pairs[0], pairs[1], 1 - pairs[2]
    pad = tokenizer.pad_token_id
    shares = [next_sentence_accuracy(model, *each, pad, threads=2) for each in (pairs, wrong)]
    assert sum(shares) == pytest.approx(1)
