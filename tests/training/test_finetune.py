"""fine_tune with each task, tasks' predictions, early stopping, freezing, class weights."""

import json
import os
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.lion import Lion
from minibert import BertConfig
from minibert.data.word_alignment import word_windows
from minibert.layers.embeddings import WORDS as WORD_EMBEDDINGS
from minibert.tasks import (
    Examples,
    MultiLabelTask,
    RegressionTask,
    SingleLabelTask,
    TaggingTask,
    task_for,
)
from minibert.tasks.classification import balanced_class_weights
from minibert.training import FineTuning, evaluate, fine_tune, optimizer_for
from minibert.training.checkpoint import checkpoints, restore_optimizer
from minibert.training.defaults import Recipe, finetuning_recipe
from minibert.training.early_stopping import BestCheckpoint
from minibert.training.finetuning import FineTuningRun, ModelSource, steps_for
from minibert.training.history import read_history
from tests.conftest import small_tokenizer

WORDS = "the a sat ran on under mat tree big red".split()


def random_words(count, seed=0):
    """Yield lists of words with "cat", "dog" or both, and whether each of them occurs."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        cat, dog = [(True, False), (False, True), (True, True)][rng.integers(3)]
        words = [*rng.choice(WORDS, rng.integers(2, 6)), *["cat"] * cat, *["dog"] * dog]
        yield [str(word) for word in rng.permutation(words)], cat, dog


def labelled_examples(task_class, count, seed=0):
    texts, labels = [], []
    for words, cat, dog in random_words(count, seed):
        texts.append(words if task_class is TaggingTask else " ".join(words))
        labels.append({
            SingleLabelTask: "both" if cat and dog else "cat" if cat else "dog",
            MultiLabelTask: ["cat"] * cat + ["dog"] * dog,
            RegressionTask: 1000.0 + 50 * (cat - dog),
            TaggingTask: ["B-PET" if word in ("cat", "dog") else "O" for word in words],
        }[task_class])  # fmt: skip
    return Examples(texts, None, labels)


def new_model(task, tokenizer, **changes):
    config = BertConfig.preset(
        "tiny",
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        max_position_embeddings=12,
        initializer_range=0.06,
        **task.config(),
        **changes,
    )
    return task.model_class(config)


SETTINGS = FineTuning(steps=150, batch_size=16, learning_rate=3e-3, evaluate_every=30)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task_class", [SingleLabelTask, MultiLabelTask, RegressionTask, TaggingTask]
)
def test_fine_tune_learns_each_task_and_the_model_is_saved(task_class, tokenizer, tmp_path):
    examples, test = labelled_examples(task_class, 240), labelled_examples(task_class, 60, seed=1)
    task = task_class.from_labels(examples.labels)
    model = new_model(task, tokenizer)
    task = fine_tune(model, tokenizer, task, examples, SETTINGS, held_out=test)
    metrics = evaluate(model, tokenizer, task, test)
    assert metrics.main > 0.9
    model.save_pretrained(tmp_path)
    again = task_class.model_class.from_pretrained(tmp_path, strict=True)
    assert isinstance(task_for(again), task_class)
    assert str(evaluate(again, tokenizer, task_for(again), test)) == str(metrics)


def test_fine_tune_does_not_depend_on_the_unit_of_numbers(tokenizer):
    """Predictions are scaled and shifted like the labels."""
    predictions = []
    for unit, origin in ((1, 0), (1e4, -3e5)):
        examples = labelled_examples(RegressionTask, 60)
        examples = Examples(examples.texts, None, [unit * x + origin for x in examples.labels])
        task = RegressionTask.from_labels(examples.labels)
        model = new_model(task, tokenizer)
        task = fine_tune(model, tokenizer, task, examples, FineTuning(steps=5, batch_size=16))
        assert (task.mean, task.std) == (0, 1)
        predictions.append((task.predict(model, tokenizer, examples.texts) - origin) / unit)
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-4)


def test_denormalize_head_keeps_the_predictions(tokenizer):
    task = RegressionTask(mean=-300.0, std=50.0)
    model = new_model(task, tokenizer)
    model.params["classifier.bias"][:] = 0.7
    texts = labelled_examples(RegressionTask, 5).texts
    before = task.predict(model, tokenizer, texts)
    logits = [float(model([tokenizer.encode(text).input_ids]).logits[0, 0]) for text in texts]
    np.testing.assert_allclose(before, -300 + 50 * np.array(logits), rtol=1e-5)
    after = task.denormalize_head(model).predict(model, tokenizer, texts)
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_task_for_keeps_the_order_of_the_logits(tokenizer):
    names = [f"class {11 - i}" for i in range(12)]
    assert task_for(new_model(SingleLabelTask(names), tokenizer)).names == names


def test_multi_label_outputs_are_independent_sigmoids():
    task = MultiLabelTask(["a", "b", "c"])
    assert task.encode_label(["c", "a"]).tolist() == [1, 0, 1]
    outputs = task.outputs_from_logits(np.array([[0.0, 2.0, -1.0]]))
    np.testing.assert_allclose(outputs, [[0.5, 0.880797, 0.268941]], rtol=1e-5)
    assert task.decode_outputs(np.array([[0.51, 0.49, 0.9], [0.5, 0.2, 0.1]])) == [["a", "c"], []]


def test_predict_returns_probabilities_in_the_order_of_the_texts(tokenizer):
    examples = labelled_examples(SingleLabelTask, 70)
    task = SingleLabelTask.from_labels(examples.labels)
    model = new_model(task, tokenizer)
    together = task.predict(model, tokenizer, examples.texts)
    assert together.shape == (70, 3)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-5)
    for i in (0, 63, 64, 69):
        alone = task.predict(model, tokenizer, [examples.texts[i]])
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4)


def test_predict_cuts_texts_longer_than_the_positions(tokenizer):
    task = SingleLabelTask(["x", "y"])
    model = new_model(task, tokenizer)
    long = " ".join(["the cat"] * 30)
    found = []
    assert task.predict(model, tokenizer, ["a cat", long], truncate=True, long=found).shape == (
        2,
        2,
    )
    assert found == [1]


def test_tagging_predict_tags_every_word_of_a_long_text(tokenizer):
    """Each word is in one window, and its outputs depend on that window alone."""
    task = TaggingTask.from_labels([["B-PET", "O"]])
    assert task.names == ["O", "B-PET"]
    model = new_model(task, tokenizer)
    words = ["cat", "tree", "\x00", "unrealistic", "dog"] * 9
    (outputs,) = task.predict(model, tokenizer, [words])
    assert outputs.shape == (45, 2)
    assert (outputs[2::5] == [1, 0]).all()  # a control character has no token
    windows = list(word_windows(tokenizer, words, 12))
    assert len(windows) > 5
    for encoding, first, places in windows:
        part = words[first : first + len(places)]
        (alone,) = task.predict(model, tokenizer, [part])
        np.testing.assert_allclose(outputs[first : first + len(places)], alone, rtol=1e-5)
        assert len(encoding.input_ids) <= 12
        logits = model([encoding.input_ids]).logits[0, places[places > 0]].astype(float)
        expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(alone[places > 0], expected, rtol=1e-4)


def test_tagging_predict_gives_o_to_a_word_without_tokens(tokenizer):
    """O may be the last name, because other libraries sort the tags."""
    task = TaggingTask(["B-PET", "I-PET", "O"])
    (outputs,) = task.predict(new_model(task, tokenizer), tokenizer, [["cat", "\x00"]])
    assert outputs[1].tolist() == [0, 0, 1]
    (empty,) = task.predict(new_model(task, tokenizer), tokenizer, [[]])
    assert empty.shape == (0, 3)


def test_tokenize_examples_labels_the_first_token_of_each_word(tokenizer):
    task = TaggingTask(["O", *(f"B-{i}" for i in range(24))])
    words = ["cat", "unrealistic", "\x00", "dog"] * 6
    tags = [f"B-{i}" for i in range(24)]
    examples = Examples([words[:5], words], None, [tags[:5], tags])
    sequences, labels_at = task.tokenize_examples(tokenizer, examples, 12)
    rows = np.arange(len(sequences))
    labels, ids = labels_at(rows), sequences.batch(rows, tokenizer.pad_token_id)["input_ids"]
    assert len(rows) > 3
    found = [(task.names[label], tokenizer.convert_ids_to_tokens([token])[0])
             for label, token in zip(labels[labels != -100], ids[labels != -100], strict=True)
            ]  # fmt: skip
    first = tokenizer.tokenize("unrealistic")[0]
    expected = [(tag, first if word == "unrealistic" else word)
                for word, tag in zip(words, tags, strict=True) if word != "\x00"]  # fmt: skip
    assert found == [*expected[:4], *expected]


@given(
    st.lists(st.sampled_from(["cat", "unrealistic", "s", "a-b", "\x00", "\U0001f600", "le chat"])),
    st.integers(3, 20),
)
def test_word_windows_contain_each_word_once_and_fit(words, longest):
    tokenizer = small_tokenizer()
    windows = list(word_windows(tokenizer, words, longest))
    assert [first for _, first, _ in windows] == [
        sum(len(places) for _, _, places in windows[:i]) for i in range(len(windows))
    ]
    assert sum(len(places) for _, _, places in windows) == len(words)
    for encoding, first, places in windows:
        assert len(encoding.input_ids) <= longest
        for word, place in zip(words[first:], places, strict=False):
            if place:  # the token at this place begins the word
                start = encoding.offsets[place][0]
                text = " ".join(words[first : first + len(places)])
                assert text[start:].startswith(word[0])
            else:
                assert word == "\x00"
    for (encoding, _, _), (_, first, _) in pairwise(windows):  # the next word did not fit
        pieces = len(tokenizer.tokenize(words[first]))
        assert not pieces or len(encoding.input_ids) + pieces > longest


@pytest.mark.slow
def test_fine_tune_stops_early_and_restores_the_best_weights(tokenizer, tmp_path):
    examples, test = (
        labelled_examples(SingleLabelTask, 64),
        labelled_examples(SingleLabelTask, 30, seed=1),
    )
    task = SingleLabelTask.from_labels(examples.labels)
    settings = FineTuning(
        steps=400, batch_size=16, learning_rate=3e-3, evaluate_every=8, patience=4
    )
    model = new_model(task, tokenizer)
    outputs = []
    fine_tune(model, tokenizer, task, examples, settings, held_out=test, run=tmp_path,
              outputs=outputs)  # fmt: skip
    seen = [(line["step"], line["held_out_score"]) for line in read_history(tmp_path)
            if "held_out_score" in line]  # fmt: skip
    best = max(score for _, score in seen)
    last_best = max(step for step, score in seen if score == best)
    assert seen[-1][0] == last_best + 4 * 8 < 400
    assert evaluate(model, tokenizer, task, test).main == best
    assert task.metrics(test.labels, *outputs).main == best
    assert [path.name for path in tmp_path.glob("best-*")] == [f"best-{last_best}"]

    # A run that is resumed from its last checkpoint ends at the same step with the same weights.
    again = task.model_class.from_pretrained(checkpoints(tmp_path)[-1], strict=True)
    optimizer = optimizer_for(again, settings)
    restore_optimizer(checkpoints(tmp_path)[-1], optimizer)
    steps = optimizer.step
    fine_tune(again, tokenizer, task, examples, settings, held_out=test, run=tmp_path,
              optimizer=optimizer, outputs=outputs)  # fmt: skip
    assert optimizer.step == steps
    assert (outputs[1] == outputs[0]).all()
    assert (again.params.vector == model.params.vector).all()


@pytest.mark.slow
def test_a_resumed_run_stops_at_the_step_of_the_uninterrupted_run(tokenizer, tmp_path):
    """The best score is read from the history, so evaluations before the resumption count."""
    examples, test = (
        labelled_examples(SingleLabelTask, 64),
        labelled_examples(SingleLabelTask, 30, seed=1),
    )
    task = SingleLabelTask.from_labels(examples.labels)
    settings = FineTuning(steps=120, batch_size=16, learning_rate=3e-3, evaluate_every=4,
                          patience=5, save_every=10, keep=20)  # fmt: skip
    whole = new_model(task, tokenizer)
    fine_tune(whole, tokenizer, task, examples, settings, held_out=test, run=tmp_path)
    ended = read_history(tmp_path)[-1]["step"]
    for checkpoint in checkpoints(tmp_path)[:-1]:
        model = task.model_class.from_pretrained(checkpoint, strict=True)
        optimizer = optimizer_for(model, settings)
        restore_optimizer(checkpoint, optimizer)
        fine_tune(model, tokenizer, task, examples, settings, held_out=test, run=tmp_path,
                  optimizer=optimizer)  # fmt: skip
        assert read_history(tmp_path)[-1]["step"] == ended
        assert (model.params.vector == whole.params.vector).all()


@given(st.lists(st.integers(0, 5), min_size=1), st.integers(1, 4))
def test_best_checkpoint_should_stop_after_patience_evaluations(scores, patience):
    best = BestCheckpoint(new_model(SingleLabelTask(["x", "y"]), small_tokenizer()), patience)
    for step, score in enumerate(scores):
        best.update(step, score)
    top = max(scores)
    last = max(i for i, score in enumerate(scores) if score == top)
    assert (best.step, best.score) == (last, top)
    assert best.should_stop() == (len(scores) - 1 - last >= patience)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_freeze_keeps_the_lowest_blocks_and_their_gradients_at_zero(tokenizer, frozen):
    """Without dropout, the other gradients equal those of a model without frozen blocks."""
    examples = labelled_examples(SingleLabelTask, 40)
    task = SingleLabelTask.from_labels(examples.labels)
    model = new_model(task, tokenizer, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model.params.vector[:] += np.random.default_rng(0).normal(0, 0.05, model.params.vector.size)
    batch = tokenizer.encode_batch(examples.texts)
    labels = [task.encode_label(label) for label in examples.labels]
    loss, grads = model.loss_and_grads(batch, labels)
    model.freeze(frozen)
    frozen_loss, above = model.loss_and_grads(batch, labels)
    assert frozen_loss == pytest.approx(loss, rel=1e-5)
    before = model.params.astype(np.float32)
    fine_tune(model, tokenizer, task, examples, FineTuning(steps=3, batch_size=16, freeze=frozen))
    for name, depth in model.depths().items():
        same = (model.params[name] == before[name]).all()
        if depth <= frozen:
            assert not above[name].any(), name
            assert same, name
        else:
            np.testing.assert_allclose(above[name], grads[name], rtol=1e-3, atol=1e-5)
            assert not same, name


def test_freeze_refuses_more_blocks_than_the_model_has(tokenizer):
    model = new_model(SingleLabelTask(["x", "y"]), tokenizer)
    with pytest.raises(ValueError, match="freeze: expected 0 to 2 layers, got 3"):
        model.freeze(3)
    model.freeze(1)
    model.gradient_checkpointing_enable()  # both together
    assert model.frozen == 1
    model.freeze(None)
    assert model.frozen is None


@pytest.mark.parametrize(
    ("words", "batch_size", "shards"), [(3, 16, 2), (61, 16, 2), (62, 16, 4), (60, 1, 1)]
)
def test_default_number_of_shards_follows_the_tokens_of_a_step(
    words, batch_size, shards, monkeypatch
):
    """`[CLS]`, 62 words and `[SEP]` make 1,024 tokens of 16 texts; cores have no influence."""
    examples = Examples([" ".join(["red"] * words)] * 20, None, ["a", "b"] * 10)
    source = ModelSource(max_length=64)
    recipe = SimpleNamespace(batch_size=batch_size)
    runs = []
    for cores in 1, 64:
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        task = SingleLabelTask.from_labels(examples.labels)
        runs.append(FineTuningRun.start(task, examples, source, overrides=recipe))
    assert [run.settings.shards for run in runs] == [shards, shards]
    stated = FineTuningRun.start(task, examples, source, settings={"shards": 3}).settings
    assert stated.shards == 3


def test_layer_decay_scales_the_learning_rate_of_each_block(tokenizer):
    """Adam's first update of each parameter equals its learning rate."""
    examples = labelled_examples(SingleLabelTask, 16)
    task = SingleLabelTask.from_labels(examples.labels)
    model = new_model(task, tokenizer, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    before = model.params.astype(np.float32)
    settings = FineTuning(
        steps=1, batch_size=16, learning_rate=1e-3, warmup=0, layer_decay=0.5, weight_decay=0
    )
    fine_tune(model, tokenizer, task, examples, settings)
    for name, depth in model.depths().items():
        moved = np.abs(model.params[name] - before[name]).max()
        if moved and "key.bias" not in name:  # its gradient is 0 up to rounding
            assert moved == pytest.approx(1e-3 * 0.5 ** (3 - depth), rel=0.02), name


def test_fine_tune_takes_an_optimizer_or_a_function_that_makes_one(tokenizer):
    examples = labelled_examples(SingleLabelTask, 16)
    settings = FineTuning(steps=2, batch_size=8, learning_rate=1e-3, freeze=1, weight_decay=0.5)
    vectors = []
    for make in (
        lambda model: Lion(model.params, weight_decay=0.5),
        lambda model: lambda same, own: Lion(same.params, weight_decay=own.weight_decay),
        lambda model: None,
    ):
        task = SingleLabelTask.from_labels(examples.labels)
        model = new_model(task, tokenizer)
        fine_tune(model, tokenizer, task, examples, settings, optimizer=make(model))
        assert model.frozen == 1
        vectors.append(model.params.vector)
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] != vectors[2]).any()
    with pytest.raises(TypeError, match="optimizer: expected step, jobs, state and load"):
        fine_tune(model, tokenizer, task, examples, settings, optimizer=lambda *_: "Lion")


def test_class_weights_equal_repeated_examples(tokenizer):
    numbers = [0] * 30 + [1] * 6 + [2] * 4
    weights = balanced_class_weights(numbers, 3)
    np.testing.assert_allclose([weights[c] * numbers.count(c) for c in range(3)], 40 / 3)
    task = SingleLabelTask(["a", "b", "c"])
    model = new_model(task, tokenizer, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = model.astype(np.float64)
    batch = tokenizer.encode_batch([" ".join(words) for words, _, _ in random_words(40)])
    model.class_weights = 2 * weights  # only the ratios of the weights matter
    loss, grads = model.loss_and_grads(batch, numbers)
    # The losses of two shards add up, as in the engine.
    whole = model.count(numbers)
    halves = [
        model.loss_and_grads(
            {name: array[part] for name, array in batch.items()}, numbers[part], denominator=whole
        )
        for part in (slice(0, 32), slice(32, 40))
    ]
    assert sum(part for part, _ in halves) == pytest.approx(loss)
    # Equal to repeating each text in proportion to its class weight: 4, 20 and 30 times 0.111.
    repeated = [i for i, c in enumerate(numbers) for _ in range((4, 20, 30)[c])]
    plain = model.astype(np.float64)
    assert (plain.class_weights == model.class_weights).all()
    plain.class_weights = None
    same, expected = plain.loss_and_grads(
        {name: array[repeated] for name, array in batch.items()}, [numbers[i] for i in repeated]
    )
    assert loss == pytest.approx(same)
    np.testing.assert_allclose(grads.vector, expected.vector, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"clip": 1e-3},
        {"weight_decay": 0.5},
        {"seed": 1},
        {"warmup": 1.0},
        {"class_weight": (1.0, 5.0, 0.2)},
        {"class_weight": "balanced"},
    ],
)
def test_fine_tune_uses_each_setting(tokenizer, change):
    examples = labelled_examples(SingleLabelTask, 33)
    task = SingleLabelTask.from_labels(examples.labels)

    def trained(**settings):
        model = new_model(
            task, tokenizer, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        fine_tune(model, tokenizer, task, examples,
                  FineTuning(**{"steps": 3, "batch_size": 8, **settings}))  # fmt: skip
        return model.params.vector

    assert (trained() == trained()).all()
    assert (trained() != trained(**change)).any()


def test_fine_tune_seeds_the_dropout(tokenizer):
    examples = Examples(["the cat"] * 8, None, ["x"] * 8)  # the same in every order
    task = SingleLabelTask(["x", "y"])
    one, other = new_model(task, tokenizer), new_model(task, tokenizer)
    for model, seed in ((one, 0), (other, 1)):
        settings = FineTuning(steps=1, batch_size=8, seed=seed)
        fine_tune(model, tokenizer, task, examples, settings)
    assert (one.params.vector != other.params.vector).any()


def test_checksum_depends_on_texts_pairs_and_labels():
    sums = {
        Examples(*fields).checksum()
        for fields in ((["a"], None, ["x"]), (["b"], None, ["x"]), (["a"], None, ["y"]),
                     (["a"], ["p"], ["x"]), (["a"], ["q"], ["x"]))
    }  # fmt: skip
    assert len(sums) == 5


def test_steps_for_counts_the_last_smaller_batch():
    assert [steps_for(10, 4, epochs) for epochs in (3, 0.5, 0.1)] == [9, 2, 1]
    assert steps_for(8, 4, 3) == 6


def test_finetuning_recipe_depends_on_examples_and_width():
    def recipe_fields(examples, width, pretrained=True):
        config = BertConfig.preset("tiny", vocab_size=50, hidden_size=width)
        recipe = finetuning_recipe(examples, config, pretrained=pretrained)
        return recipe.batch_size, recipe.epochs, recipe.learning_rate, recipe.layer_decay

    assert recipe_fields(100, 384) == (16, 20, 2e-4, 0.8)
    assert recipe_fields(500, 768) == (16, 8, 5e-5, 0.8)
    assert recipe_fields(4999, 128) == (16, 3, 5e-4, 0.8)
    assert recipe_fields(5000, 128) == (32, 3, 5e-4, 0.8)


def test_finetuning_recipe_of_new_weights_is_longer_and_faster():
    def recipe_of(examples, width=128):
        config = BertConfig.preset("tiny", vocab_size=50, hidden_size=width)
        return finetuning_recipe(examples, config, pretrained=False)

    assert recipe_of(1600) == Recipe(32, 16, 2e-3, 1.0, split_pieces=0.25)
    assert recipe_of(1600, width=256).learning_rate == 1e-3
    sizes = [1, 50, 256, 300, 1000, 3000, 5120, 9000, 10**6]
    epochs = [recipe_of(size).epochs for size in sizes]
    assert epochs == sorted(epochs, reverse=True)
    assert (epochs[0], epochs[2], epochs[6], epochs[-1]) == (100, 100, 5, 5)
    steps = [steps_for(size, 32, count) for size, count in zip(sizes, epochs, strict=True)]
    assert steps[:3] == [100, 200, 800]
    assert all(780 <= count <= 850 for count in steps[3:7])  # an epoch's last batch is smaller
    assert steps[7:] == [1410, 156_250]


def test_depths_orders_blocks_with_two_digits(tokenizer):
    model = new_model(SingleLabelTask(["x", "y"]), tokenizer, num_hidden_layers=11)
    depths = model.depths()
    for layer in range(11):
        names = [name for name in depths if f".layer.{layer}." in name]
        assert {depths[name] for name in names} == {layer + 1}
    assert depths["classifier.weight"] == depths["bert.pooler.dense.weight"] == 12
    assert depths["bert.embeddings.LayerNorm.bias"] == 0


def test_fine_tune_does_not_trim_multi_label_targets(tokenizer):
    """Multi-label targets (B, C) are not trimmed like the labels of tokens, even if C = T."""
    names = list("abcdef")
    texts = [" ".join(["cat"] * n) for n in (1, 2, 3, 4)]  # and [CLS] and [SEP]: 3 to 6 tokens
    task = MultiLabelTask(names)
    examples = Examples(texts, None, [names, names[:2], [], names[4:]])
    settings = FineTuning(steps=2, batch_size=4, shards=2)
    model = new_model(task, tokenizer)
    before = model.params["classifier.weight"].copy()
    fine_tune(model, tokenizer, task, examples, settings)
    assert (model.params["classifier.weight"] != before).all()


def test_from_labels_refuses_labels_without_variety():
    with pytest.raises(ValueError, match="two classes or more, got only 'x'"):
        SingleLabelTask.from_labels(["x", "x"])
    with pytest.raises(ValueError, match="two labels or more, got none"):
        MultiLabelTask.from_labels([[], []])
    with pytest.raises(ValueError, match="different numbers to learn, got only 3"):
        RegressionTask.from_labels([3, 3])
    with pytest.raises(ValueError, match="unknown label 'cow', expected one of cat, dog"):
        SingleLabelTask(["cat", "dog"]).encode_label("cow")
    for bad in ({"layer_decay": 0}, {"class_weight": "even"}, {"patience": 0},
                {"split_pieces": 1}, {"split_pieces": -0.1}):  # fmt: skip
        with pytest.raises(ValueError, match=f"{next(iter(bad))}: expected"):
            FineTuning(steps=1, **bad)


@pytest.mark.parametrize(
    ("kind", "what", "labels"),
    [
        (SingleLabelTask, "classes", [str(i) for i in range(10_001)]),
        (MultiLabelTask, "labels", [[str(i) for i in range(10_001)]]),
        (TaggingTask, "tags", [[f"B-{i}" for i in range(10_001)]]),
    ],
)
def test_too_many_classes_are_refused_before_memory_is_used_for_them(kind, what, labels):
    message = f"^expected at most 10,000 {what}, got 10,001, for which a confusion matrix needs 0.8"
    with pytest.raises(ValueError, match=message):
        kind.from_labels(labels)
    if kind is SingleLabelTask:
        assert len(kind.from_labels(labels[1:]).names) == 10_000


def test_best_checkpoint_is_a_model_folder(tokenizer, tmp_path):
    examples = labelled_examples(SingleLabelTask, 32)
    task = SingleLabelTask.from_labels(examples.labels)
    model = new_model(task, tokenizer)
    settings = FineTuning(steps=4, batch_size=16, evaluate_every=2)
    fine_tune(model, tokenizer, task, examples, settings, held_out=examples, run=tmp_path)
    (best,) = tmp_path.glob("best-*")
    assert json.loads((best / "config.json").read_text())["architectures"] == [
        task.model_class.__name__
    ]
    assert (task.model_class.from_pretrained(best).params.vector == model.params.vector).all()


@pytest.mark.parametrize("task_class", [SingleLabelTask, MultiLabelTask, RegressionTask])
def test_a_new_model_starts_from_the_counts_of_its_texts(task_class, tmp_path):
    examples = labelled_examples(task_class, 60)
    task = task_class.from_labels(examples.labels)
    run = FineTuningRun.start(task, examples, ModelSource(), seed=2)
    other = FineTuningRun.start(task, examples, ModelSource(), seed=2)
    np.testing.assert_array_equal(run.model.params.vector, other.model.params.vector)
    least = {SingleLabelTask: 0.6, MultiLabelTask: 0.8, RegressionTask: 0.5}[task_class]
    assert evaluate(run.model, run.tokenizer, task, examples).main > least  # without a step
    run.model.save_pretrained(tmp_path)
    run.tokenizer.save_pretrained(tmp_path)
    pretrained = FineTuningRun.start(task, examples, ModelSource(tmp_path), seed=2)
    np.testing.assert_array_equal(pretrained.model.params.vector, run.model.params.vector)


@pytest.mark.parametrize(
    ("task_class", "sizes"),
    [(SingleLabelTask, (1, 64)), (MultiLabelTask, (1, 64)), (RegressionTask, (1, 64)),
     (TaggingTask, (2, 128))],
)  # fmt: skip
def test_the_task_decides_the_size_of_a_new_model_unless_it_is_named(task_class, sizes):
    examples = labelled_examples(task_class, 20)
    task = task_class.from_labels(examples.labels)
    for size, expected in ((None, sizes), ("nano", (1, 64)), ("tiny", (2, 128))):
        config = ModelSource(size=size).load(task, examples, seed=0)[0].config
        assert (config.num_hidden_layers, config.hidden_size) == expected
    if task_class is not TaggingTask:
        pairs = Examples(examples.texts, examples.texts, examples.labels)
        assert ModelSource().load(task, pairs, seed=0)[0].config.num_hidden_layers == 2


def test_a_run_that_resumes_does_not_count_again():
    examples = labelled_examples(SingleLabelTask, 60)
    task = SingleLabelTask.from_labels(examples.labels)
    run = FineTuningRun.start(task, examples, ModelSource(), seed=2, resumes=True)
    random = task.model_class(run.model.config, seed=2)
    np.testing.assert_array_equal(run.model.params.vector, random.params.vector)
    assert run.settings == FineTuningRun.start(task, examples, ModelSource(), seed=2).settings


def test_a_new_model_of_pairs_counts_both_texts():
    texts = labelled_examples(SingleLabelTask, 60)
    pairs = Examples(["first"] * 60, texts.texts, texts.labels)
    task = SingleLabelTask.from_labels(pairs.labels)
    run = FineTuningRun.start(task, pairs, ModelSource())
    (name,) = (name for name in run.model.params.specs if name.endswith(WORD_EMBEDDINGS))
    changed = run.model.params[name].any(axis=1)
    ids = run.tokenizer.vocabulary.ids
    assert changed[[ids["first"], ids["cat"]]].all()
    assert not changed[run.tokenizer.all_special_ids].any()
    assert evaluate(run.model, run.tokenizer, task, pairs).main > 0.6  # without a step


def test_a_new_tagger_starts_from_random_weights():
    examples = labelled_examples(TaggingTask, 40)
    task = TaggingTask.from_labels(examples.labels)
    run = FineTuningRun.start(task, examples, ModelSource(), seed=1)
    random = task.model_class(run.model.config, seed=1)
    np.testing.assert_array_equal(run.model.params.vector, random.params.vector)
