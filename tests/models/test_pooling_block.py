"""The block that writes the mean over the tokens to [CLS], in every family."""

import numpy as np
import pytest

from minibert.models.families.mpnet import MPNetConfig
from minibert.models.pooling_block import has_room, pooling_names, with_pooling_block
from tests.models.test_classifier_head import FAMILIES

BATCH = {
    "input_ids": [[5, 17, 54, 6, 0, 0], [7, 9, 11, 30, 8, 6]],
    "attention_mask": [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]],
}


OWN = [pair for pair in FAMILIES if has_room(pair[1]())]  # layers with parameters of their own


@pytest.fixture(params=OWN, ids=lambda pair: pair[1].model_type)
def model(request):
    kind, config = request.param
    return kind(config.preset("tiny", vocab_size=60, hidden_size=32, hidden_dropout_prob=0.1))


def test_cls_has_the_normalized_mean_over_the_tokens(model):
    """Up to [CLS]'s own vector, a thousandth; padding is left out. Of MPNet, a weighted mean."""
    made = with_pooling_block(model)
    batch, last = made.check(**BATCH), model.config.num_hidden_layers
    states = made.hidden_states(batch, [last, last + 1])
    mask = batch.attention_mask[..., None]
    mean = (mask * states[last]).sum(axis=1) / mask.sum(axis=1)  # (B, T, D) -> (B, D)
    mean -= mean.mean(axis=1, keepdims=True)
    expected = mean / mean.std(axis=1, keepdims=True)
    error = abs(states[last + 1][:, 0] - expected).max()
    assert error < (0.5 if isinstance(model.config, MPNetConfig) else 0.02)


def test_the_other_parameters_are_those_of_the_model(model):
    made = with_pooling_block(model)
    own = pooling_names(made)
    assert {*made.params} == {*model.params, *own}
    assert len(own) == 16
    for name, array in model.params.items():
        np.testing.assert_array_equal(made.params[name], array)
