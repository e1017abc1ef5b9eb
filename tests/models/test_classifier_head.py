"""The classifier of a text as a layer that vectors pass and a linear map, in every family."""

import numpy as np
import pytest

from minibert import BertConfig, BertForSequenceClassification
from minibert.models.classifier_head import classifier_inputs, pass_vectors, set_classifier
from minibert.models.families.albert import AlbertConfig, AlbertForSequenceClassification
from minibert.models.families.deberta_v2 import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
)
from minibert.models.families.distilbert import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
)
from minibert.models.families.electra import ElectraConfig, ElectraForSequenceClassification
from minibert.models.families.modernbert import (
    ModernBertConfig,
    ModernBertForSequenceClassification,
)
from minibert.models.families.mpnet import MPNetConfig, MPNetForSequenceClassification
from minibert.models.families.roberta import RobertaConfig, RobertaForSequenceClassification
from minibert.tasks import RegressionTask
from tests.models.relatives import RELATIVES, batch_of, made

FAMILIES = [
    (BertForSequenceClassification, BertConfig),
    (RobertaForSequenceClassification, RobertaConfig),
    (MPNetForSequenceClassification, MPNetConfig),
    (DistilBertForSequenceClassification, DistilBertConfig),
    (ElectraForSequenceClassification, ElectraConfig),
    (AlbertForSequenceClassification, AlbertConfig),
    (DebertaV2ForSequenceClassification, DebertaV2Config),
    (ModernBertForSequenceClassification, ModernBertConfig),
]
IDS = [[5, 17, 54, 6], [7, 9, 11, 30]]


@pytest.fixture(params=FAMILIES, ids=lambda pair: pair[1].model_type)
def model(request):
    kind, config = request.param
    names = {0: "a", 1: "b", 2: "c"}
    return kind(config.preset("tiny", vocab_size=60, hidden_size=32, id2label=names))


@pytest.mark.parametrize("family", RELATIVES)
def test_numbers_of_every_family_change_their_unit_and_back(family):
    """Fine-tuning and distillation end with it."""
    model, task = made(family, "ForSequenceClassification"), RegressionTask(mean=-300.0, std=50.0)
    batch = batch_of(family)
    before = model(**batch).logits
    assert task.denormalize_head(model).mean == 0
    np.testing.assert_allclose(model(**batch).logits, 50 * before - 300, rtol=1e-10)
    task.normalize_head(model)
    np.testing.assert_allclose(model(**batch).logits, before, rtol=1e-10)


def cls_vectors(model):
    batch = model.check(IDS)
    last = model.config.num_hidden_layers
    return model.hidden_states(batch, [last])[last][:, 0]


def test_logits_are_the_linear_map_of_the_classifier_inputs(model):
    pass_vectors(model)
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((3, 32)), rng.standard_normal(3)
    set_classifier(model, weight, bias)
    expected = classifier_inputs(model, cls_vectors(model)) @ weight.T + bias
    np.testing.assert_allclose(model(IDS).logits, expected, atol=1e-5)


def test_vectors_pass_the_layer_below_the_logits_almost_unchanged(model):
    """Up to a factor and a constant: what remains of a least-squares line is below 5 %."""
    pass_vectors(model)
    vectors = cls_vectors(model)
    x, y = vectors.ravel(), classifier_inputs(model, vectors).ravel()
    slope, constant = np.polyfit(x, y, 1)
    rest = y - slope * x - constant
    assert slope > 0.05
    assert rest.std() < 0.05 * y.std()
