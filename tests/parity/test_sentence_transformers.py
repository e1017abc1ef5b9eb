"""Parity with sentence-transformers: the losses on vectors, and every gradient of the model.

Both have the same small weights, in float64 and without dropout, and the same texts.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from minibert import FeatureExtractor
from minibert.data.embedding_examples import EmbeddingExamples, pairs_from_labels
from minibert.objectives import SentenceVectors
from minibert.training import EmbeddingTraining, Engine
from minibert.training.embeddings import encoder_of
from tests.inference.test_sentence_folders import folder_of
from tests.objectives.test_two_phase import Recorder

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TOLERANCE = 1e-8  # relative, of the loss and of the norm of each gradient
SETTINGS = EmbeddingTraining(steps=1, batch_size=6, shards=3, clip=1e9)
ROWS = [
    ["the cat sat", "a cat sat on the mat", "a dog ran"],
    ["a big tree", "the tree was big and it was red", "it was on"],
    ["it ran", "the dog ran", "the mat"],
    ["big cat", "it sat", "then it was red"],
    ["red and big", "big and red", "the mat was on the tree and under it"],
    ["then a dog", "a dog and then", "sat"],
]
PAIRS = [row[:2] for row in ROWS]
SCORES = [0.875, -0.25, 0.5, 1.0, 0.0, 0.375]  # exact in the float32 of sentence-transformers


@pytest.fixture(params=["mean", "cls, normalized"])
def folder(request, tmp_path):
    pooling, _, normalized = request.param.partition(",")
    more = [("Normalize", {})] if normalized else []
    folder = folder_of(tmp_path, pooling={"pooling_mode": pooling}, more=more)
    fields = json.loads((folder / "config.json").read_text())
    fields |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


def ours(folder, examples, **fields):
    """Return the loss of step 0, and its gradients by the names of files."""
    extractor = FeatureExtractor.from_pretrained(folder)
    extractor.model = extractor.model.astype(np.float64)
    encoder = encoder_of(extractor)
    settings = replace(SETTINGS, batch_size=len(examples), **fields)
    objective = SentenceVectors(encoder, extractor.tokenizer, examples, settings)
    recorder = Recorder()
    engine = Engine(encoder.model, recorder, clip=1e9, threads=1, objective=objective)
    loss = engine.step(objective.shards(0), 1e-3).loss
    grads = type(encoder.params)(encoder.params.layout, recorder.gradient)
    return loss, {name.removeprefix("bert."): array for name, array in grads.items()}


def theirs(folder, make_loss, rows, labels=None):
    """Return the loss of sentence-transformers, and its gradients."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu").double().eval()
    loss_of = make_loss(model)
    columns = [list(column) for column in zip(*rows, strict=True)]
    features = [model.preprocess(column) for column in columns]
    features = [{name: each[name] for name in each if hasattr(each[name], "shape")}
                for each in features]  # fmt: skip
    targets = torch.zeros(len(rows)) if labels is None else torch.tensor(labels).double()
    loss = loss_of(features, targets)
    loss.backward()
    inner = model[0].auto_model if hasattr(model[0], "auto_model") else model[0].model
    return loss.item(), {
        name: p.grad.numpy() for name, p in inner.named_parameters() if p.grad is not None
    }


def assert_same(own, other):
    (loss, grads), (expected, reference) = own, other
    assert loss == pytest.approx(expected, rel=TOLERANCE)
    body = {name for name in grads if not name.startswith("pooler.")}
    assert body == {name for name in reference if not name.startswith("pooler.")}
    largest = max(np.linalg.norm(gradient) for gradient in reference.values())
    for name in body:
        difference = np.linalg.norm(grads[name] - reference[name])
        # The key's bias has the gradient 0 but for rounding; and with Euclidean triplets the last
        # bias has, which moves all vectors alike.
        scale = max(np.linalg.norm(reference[name]), 1e-6 * largest)
        assert difference <= TOLERANCE * scale, name


def losses():
    from sentence_transformers.sentence_transformer import losses as found

    return found


@pytest.mark.parametrize("scale", [20.0, 5.0])
@pytest.mark.parametrize("rows", [PAIRS, ROWS], ids=["in-batch negatives", "hard negatives"])
def test_ranking_is_the_multiple_negatives_ranking_loss(folder, rows, scale):
    own = ours(folder, EmbeddingExamples(rows), temperature=1 / scale)
    other = theirs(
        folder, lambda model: losses().MultipleNegativesRankingLoss(model, scale=scale), rows
    )
    assert_same(own, other)


@pytest.mark.parametrize("size", [1, 4])
def test_shards_are_the_mini_batches_of_the_cached_ranking_loss(folder, size):
    own = ours(folder, EmbeddingExamples(ROWS), recompute=True, shards=4)
    other = theirs(
        folder,
        lambda model: losses().CachedMultipleNegativesRankingLoss(model, mini_batch_size=size),
        ROWS,
    )
    assert_same(own, other)


def test_cosine_is_the_cosine_similarity_loss(folder):
    own = ours(folder, EmbeddingExamples(PAIRS, SCORES), loss="cosine")
    other = theirs(folder, lambda model: losses().CosineSimilarityLoss(model), PAIRS, SCORES)
    assert_same(own, other)


def test_pairs_from_labels_have_the_cosine_similarity_loss_although_texts_repeat(folder):
    pairs = pairs_from_labels([row[0] for row in ROWS], [0, 1, 0, 1, 1, 0], iterations=2)
    own = ours(folder, pairs, loss="cosine")
    other = theirs(
        folder, lambda model: losses().CosineSimilarityLoss(model), pairs.rows, pairs.scores
    )
    assert_same(own, other)


@pytest.mark.parametrize("margin", [5.0, 0.2])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_triplet_is_the_triplet_loss(folder, distance, margin):
    from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric

    own = ours(folder, EmbeddingExamples(ROWS), loss="triplet", distance=distance, margin=margin)
    metric = getattr(TripletDistanceMetric, distance.upper())
    other = theirs(
        folder,
        lambda model: losses().TripletLoss(model, distance_metric=metric, triplet_margin=margin),
        ROWS,
    )
    assert_same(own, other)
