"""The shards of masked LM and next sentence are drawn from the step's number."""

import numpy as np

from minibert import BertForPreTraining
from minibert.objectives import MaskedLM, MaskedLMAndNextSentence
from minibert.training import Settings
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
