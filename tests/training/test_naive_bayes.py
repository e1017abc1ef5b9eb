"""The start of fine-tuning without a pre-trained model: BERT begins as naive Bayes."""

import numpy as np
import pytest

from benchmarks.from_nothing import LETTERS, examples, tfidf
from benchmarks.harness import Missing
from minibert import (
    BertConfig,
    BertForSequenceClassification,
    TextClassifier,
    WordPieceTokenizer,
)
from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS
from minibert.tasks import SingleLabelTask
from minibert.training import evaluate, naive_bayes
from minibert.training.finetuning import FineTuningRun, ModelSource
from minibert.training.naive_bayes import LOGIT_STD, initialize_from_labels

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["s", "##o", "##n", "so", "##on", "son", "m", "##a", "ma", "x", ".", "red", "sun"]
TEXTS = ["son ma .", "ma red .", "son . sun", "ma .", "sun son .", "red ."] * 5
CLASSES = [0, 1, 0, 1, 0, 1] * 5
LABELS = {
    "single_label_classification": np.array(CLASSES),
    "multi_label_classification": np.array([[c == 0, c == 1, 1, 0] for c in CLASSES], np.float32),
    "regression": np.array(CLASSES) * 2.0 - 1,
}


@pytest.fixture
def tokenizer():
    """A tokenizer whose longer words can be split."""
    return WordPieceTokenizer([*SPECIAL, *PIECES])


def new_model(tokenizer, problem="single_label_classification", **changes):
    """A small classifier of the problem in `LABELS`, with random weights."""
    classes = {"regression": 1, "multi_label_classification": 4}.get(problem, 2)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 24, "max_position_embeddings": 12}  # fmt: skip
    config = BertConfig(
        vocab_size=len(tokenizer), problem_type=problem,
        id2label={i: f"c{i}" for i in range(classes)}, **sizes | changes,
    )  # fmt: skip
    return BertForSequenceClassification(config, seed=3)


def encode(tokenizer, texts=TEXTS):
    return [np.array(tokenizer.encode(text).input_ids) for text in texts]


def logits_of(model, tokenizer, texts=TEXTS):
    """The logits (S, C) without dropout."""
    return model(**tokenizer.encode_batch(texts)).logits


@pytest.mark.parametrize("changes", [{}, {"num_hidden_layers": 1}, {"num_attention_heads": 4},
                                     {"position_embedding_type": "sinusoidal"}])  # fmt: skip
@pytest.mark.parametrize("problem", LABELS)
def test_the_untrained_model_predicts_the_labels(tokenizer, problem, changes):
    model = new_model(tokenizer, problem, **changes)
    initialize_from_labels(model, encode(tokenizer), LABELS[problem], tokenizer)
    logits, labels = logits_of(model, tokenizer), LABELS[problem]
    if problem == "single_label_classification":
        np.testing.assert_array_equal(logits.argmax(axis=1), labels)
    elif problem == "regression":
        assert np.corrcoef(logits[:, 0], labels)[0, 1] > 0.9
    else:
        mean = logits.mean(axis=0)
        np.testing.assert_array_equal(logits[:, :2] > mean[:2], labels[:, :2] == 1)


def test_the_first_logits_have_a_known_mean_and_spread(tokenizer):
    """So the head was measured on the vectors that the model itself computes."""
    model = new_model(tokenizer)
    initialize_from_labels(model, encode(tokenizer), LABELS[model.problem], tokenizer)
    logits = logits_of(model, tokenizer)
    np.testing.assert_allclose(logits.mean(axis=0), 0, atol=1e-4)
    assert np.sqrt(np.square(logits).mean()) == pytest.approx(LOGIT_STD, rel=1e-4)
    model = new_model(tokenizer, "regression")
    initialize_from_labels(model, encode(tokenizer), LABELS["regression"], tokenizer)
    numbers, labels = logits_of(model, tokenizer)[:, 0], LABELS["regression"]
    assert (numbers * (labels - numbers)).mean() == pytest.approx(0, abs=1e-4)  # least squares


def test_a_piece_that_is_only_a_part_has_a_vector_and_an_unseen_one_has_none(tokenizer):
    model = new_model(tokenizer)
    initialize_from_labels(model, encode(tokenizer), LABELS[model.problem], tokenizer)
    E = model.params[f"bert.embeddings.{WORDS}"]
    ids = tokenizer.vocabulary.ids
    zero = {i for i, row in enumerate(E) if not row.any()}
    assert zero == {*tokenizer.all_special_ids, ids["x"]}
    assert E[ids["##n"]] @ E[ids["son"]] > E[ids["##n"]] @ E[ids["ma"]]
    assert not model.params[f"bert.embeddings.{POSITIONS}"].any()
    first, second = model.params[f"bert.embeddings.{SEGMENTS}"]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(E @ first, 0, atol=1e-6)


def test_a_new_word_is_classified_by_its_letters(tokenizer, monkeypatch):
    """Of the first logits alone; no text with the piece, but few others have its letters."""
    texts = ["son ma"] * 20 + ["red ma"] * 20 + ["so"]
    labels = np.array([0] * 20 + [1] * 20 + [1])
    logits = []
    for is_blind in (False, True):
        if is_blind:
            monkeypatch.setattr(naive_bayes, "letter_evidence", lambda *_: 0)
        model = new_model(tokenizer)
        initialize_from_labels(model, encode(tokenizer, texts), labels, tokenizer)
        logits.append(logits_of(model, tokenizer, ["so"])[0])
    assert logits[0].argmax() == 0  # so, in one text of class 1, has the letters of son
    assert logits[1].argmax() == 1


def test_every_weight_has_a_gradient_after_two_steps(tokenizer):
    """The maps that begin with 0 do not stop the gradient of the maps below them for long."""
    model = new_model(tokenizer)
    initialize_from_labels(model, encode(tokenizer), LABELS[model.problem], tokenizer)
    batch = tokenizer.encode_batch(TEXTS)
    for _ in range(3):
        _, grads = model.loss_and_grads(batch, LABELS[model.problem])
        for name, value in model.params.items():
            value -= 0.5 * grads[name]
    for name in model.params.specs:
        if name.endswith("key.bias"):  # which softmax does not see
            continue
        assert np.abs(grads[name]).max() > 0, name


def test_equal_seeds_give_equal_bits_and_others_do_not(tokenizer):
    vectors = []
    for seed in (0, 0, 1):
        model = new_model(tokenizer)
        initialize_from_labels(model, encode(tokenizer), LABELS[model.problem], tokenizer, seed)
        vectors.append(model.params.vector.tobytes())
    assert vectors[0] == vectors[1] != vectors[2]


def test_of_many_texts_some_are_counted(tokenizer, monkeypatch):
    seen = []
    monkeypatch.setattr(naive_bayes, "MAX_LABELLED_TOKENS", 12)
    real = naive_bayes.class_evidence
    monkeypatch.setattr(
        naive_bayes, "class_evidence",
        lambda sets, *rest: seen.append([len(sets), rest[0].argmax(axis=1).tolist()])
        or real(sets, *rest),
    )  # fmt: skip
    for texts in [np.array([2, 5, 3])] * 100, [np.array([2, 5, 3])] * 3, [np.full(20, 5)] * 3:
        labels = np.arange(len(texts)) % 2
        model = new_model(tokenizer, max_position_embeddings=20)
        initialize_from_labels(model, texts, labels, tokenizer)
    assert seen == [[4, [0, 1, 0, 1]], [3, [0, 1, 0]], [1, [0]]]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("texts", [[[2, 3]], [[2, 5, 3]], [[2, 5, 3]] * 2, [[2, 7, 3], [2, 7, 3]]])
@pytest.mark.parametrize("problem", LABELS)
def test_few_and_short_texts_give_finite_weights(tokenizer, texts, width, problem):
    model = new_model(tokenizer, problem, hidden_size=width, num_attention_heads=1)
    labels = LABELS[problem][: len(texts)]
    initialize_from_labels(model, [np.array(ids) for ids in texts], labels, tokenizer)
    assert np.isfinite(model.params.vector).all()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["languages of Django", "languages of Sphinx"])
def test_the_default_classifier_is_within_two_points_of_tfidf(name):
    try:
        train, test = examples(name)
    except Missing as reason:
        pytest.skip(str(reason))
    found = TextClassifier().fit(train.texts, train.labels).score(test.texts, test.labels)
    assert found > tfidf(train, test, "char_wb", LETTERS) - 0.02


@pytest.mark.parity
@pytest.mark.parametrize("name", ["languages of Django", "languages of Sphinx", "situations"])
def test_the_start_alone_is_within_five_points_of_tfidf(name):
    """Without a step; random first weights are at chance."""
    try:
        train, test = examples(name)
    except Missing as reason:
        pytest.skip(str(reason))
    task = SingleLabelTask.from_labels(train.labels)
    run = FineTuningRun.start(task, train, ModelSource())
    found = evaluate(run.model, run.tokenizer, task, test, threads=1).figures()["accuracy"]
    assert found > tfidf(train, test, "char_wb", LETTERS) - 0.05
