"""The shards of masked LM and next sentence are drawn from the step's number."""

import numpy as np
import pytest

from minibert import (
    AlbertConfig,
    AlbertForPreTraining,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
)
from minibert.data.corpus import pack
from minibert.functional import IGNORED
from minibert.objectives import MaskedLM, MaskedLMAndNextSentence, MaskedLMAndSentenceOrder
from minibert.objectives.evaluation import MaskedLMMetrics
from minibert.training import Settings
from minibert.training.pretraining import objective_for
from minibert.training.recipes import PreTraining
from tests.objectives.language import small


def test_shards_mask_other_tokens_for_each_step_and_seed(tokenizer, packed):
    rows = np.repeat(packed[0][:1], 4, axis=0)  # the same in any order, and a step is an epoch
    hidden = {
        objective.shards(step)[0][1].tobytes()
        for seed in (0, 1)
        for objective in [MaskedLM(small(tokenizer), tokenizer, rows, None,
                                   Settings(steps=9, batch_size=4, shards=1, seed=seed))]
        for step in range(4)
    }  # fmt: skip
    assert len(hidden) == 8


def test_shards_draw_other_pairs_for_each_step(tokenizer, packed):
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


def test_shards_swap_other_segments_for_each_step(tokenizer, packed):
    model = AlbertForPreTraining(albert(tokenizer))
    settings = Settings(steps=9, batch_size=8, shards=2)
    assert objective_for(model) is MaskedLMAndSentenceOrder
    objective = MaskedLMAndSentenceOrder(model, tokenizer, packed[0][:8], None, settings)
    steps = [objective.shards(step) for step in range(6)]
    for step, shards in enumerate(steps):  # from the number of the step alone
        again = objective.shards(step)
        for (batch, labels), (other, same) in zip(shards, again, strict=True):
            np.testing.assert_array_equal(batch["input_ids"], other["input_ids"])
            np.testing.assert_array_equal(labels["labels"], same["labels"])
    orders = {
        tuple(np.concatenate([labels["sentence_order_label"] for _, labels in shards]).tolist())
        for shards in steps
    }
    assert len(orders) > 1
    for batch, labels in steps[0]:
        assert (batch["token_type_ids"].max(axis=1) == 1).all()
        assert (batch["attention_mask"][labels["labels"] != -100] == 1).all()
    counts = sum(objective.count(shard) for shard in steps[0])
    masked = sum((labels["labels"] != -100).sum() for _, labels in steps[0])
    assert counts.tolist() == [masked, 8]


def test_metrics_of_sentence_order_are_written_and_read(tokenizer, packed):
    model = AlbertForPreTraining(albert(tokenizer))
    settings = Settings(steps=2, batch_size=4)
    objective = MaskedLMAndSentenceOrder(model, tokenizer, *packed, settings, threads=2)
    metrics = objective.metrics()
    ids, types, labels = objective.pairs
    mask = (ids != tokenizer.pad_token_id).astype(int)
    right = (model(ids, types, mask).sop_logits.argmax(axis=1) == labels).mean()
    assert metrics.sentence_order == pytest.approx(right)
    assert metrics.next_sentence is None
    assert str(metrics).endswith(f", sentence order {right:.1%}")
    figures = metrics.figures()
    assert set(figures) == {"held_out_loss", "held_out_accuracy", "held_out_sentence_order"}
    assert MaskedLMMetrics.of_figures(figures) == metrics


def albert(tokenizer):
    own = vars(small(tokenizer).config).items()
    fields = {name: value for name, value in own if name not in ("id2label", "classifier_dropout")}
    return AlbertConfig(**fields, embedding_size=24)


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_step_masks_whole_words_by_the_share_of_its_settings(tokenizer, kind, share):
    """The words of this text have 1 and 5 pieces; evaluations mask pieces, 15 % of them."""
    rows = pack([["the zebra sat on the mat"] * 40], tokenizer, 32)
    model = kind(BertConfig.preset("tiny", vocab_size=len(tokenizer)), seed=0)
    masking = {"masked_share": share, "last_masked_share": share}
    settings = PreTraining(steps=20, batch_size=8, shards=1, whole_words=True, **masking)
    objective = objective_for(model)(model, tokenizer, rows, rows, settings)
    found = ordinary = 0
    for step in range(settings.steps):
        batch, labels = objective.masked_batch(np.arange(8), step)
        labels = labels if kind is BertForMaskedLM else labels["labels"]
        ids = np.where(labels == IGNORED, batch["input_ids"], labels)
        is_target, continues = labels != IGNORED, objective.continues[ids]
        # A piece that continues a word is a target exactly if the piece before is.
        assert (is_target[:, 1:] == is_target[:, :-1])[
            continues[:, 1:] & ~np.isin(ids[:, :-1], tokenizer.all_special_ids)
        ].all()
        found += is_target.sum()
        ordinary += (~np.isin(ids, tokenizer.all_special_ids)).sum()
    assert found / ordinary == pytest.approx(share, rel=0.1)
    evaluated = (objective.held_out_labels != IGNORED).sum()
    assert evaluated == pytest.approx(0.15 * (rows > 4).sum(), rel=0.15)
