"""Every option of pretrain and finetune changes what it names and nothing else."""

import pytest

from tests.laws.commands import options_of, training_with

OTHER = object()  # another value than without the option


def pretraining(folder, *more, files="corpus.txt", tokenizer="tokenizer", out="never"):
    return ["pretrain", folder / files, "--tokenizer", folder / tokenizer, "--out", folder / out,
            "--length", 12, *more]  # fmt: skip


PRETRAIN = {  # option: more words or other arguments, and what changes
    "files": ({"files": "other.txt"}, {
        "settings.data": OTHER, "rows": OTHER, "held_out": OTHER, "weights": OTHER}),
    "tokenizer": ({"tokenizer": "cased"}, {"settings.tokenizer": OTHER, "vocabulary": OTHER,
        "settings.data": OTHER}),
    "vocab_size": None,  # see tests/cli/test_pretrain_choice.py
    "documents": (["--documents", "lines"], {
        "settings.data": OTHER, "rows": OTHER, "held_out": OTHER, "weights": OTHER}),
    "held_out": (["--held-out", "other.txt"], {
        "settings.data": OTHER, "rows": OTHER, "held_out": OTHER, "weights": OTHER}),
    "size": (["--size", "mini"], {"config.num_hidden_layers": 1, "weights": OTHER}),
    "length": (["--length", 9], {"config.max_position_embeddings": 9, "width": 9, "rows": OTHER,
        "held_out": OTHER, "weights": OTHER}),
    "activation": (["--activation", "relu"], {"config.hidden_act": "relu"}),
    "positions": (["--positions", "sinusoidal"], {
        "config.position_embedding_type": "sinusoidal", "weights": OTHER}),
    "dropout": (["--dropout", 0.25], {"config.hidden_dropout_prob": 0.25,
        "config.attention_probs_dropout_prob": 0.25}),
    "batch_size": (["--batch-size", 100], {"settings.batch_size": 100, "settings.shards": OTHER}),
    "learning_rate": (["--learning-rate", 0.5], {"settings.learning_rate": 0.5}),
    "warmup": (["--warmup", 0.25], {"settings.warmup": 0.25}),
    "weight_decay": (["--weight-decay", 0.5], {"settings.weight_decay": 0.5}),
    "clip": (["--clip", 0.5], {"settings.clip": 0.5}),
    "seed": (["--seed", 5], {"settings.seed": 5, "weights": OTHER, "held_out": OTHER}),
    "shards": (["--shards", 3], {"settings.shards": 3}),
    "threads": (["--threads", 3], {"threads": 3, "evaluation_threads": 3}),
    "gradient_checkpointing": (["--gradient-checkpointing"], {"block": "Recomputed"}),
    "evaluate_every": (["--evaluate-every", 7], {"settings.evaluate_every": 7}),
    "save_every": (["--save-every", 7], {"settings.save_every": 7}),
    "keep": (["--keep", 7], {"settings.keep": 7}),
    "recipe": (["--recipe", "bert"], {
        "settings.recipe": "bert", "settings.learning_rate": OTHER, "settings.warmup": 0.1,
        "settings.optimizer": "adamw", "settings.schedule": "linear", "settings.beta2": 0.999,
        "settings.masked_share": 0.15, "settings.last_masked_share": 0.15,
        "settings.initialization": "random", "weights": OTHER,
        "config.hidden_dropout_prob": 0.1, "config.attention_probs_dropout_prob": 0.1}),
    "optimizer": (["--optimizer", "adamw"], {"settings.optimizer": "adamw"}),
    "schedule": (["--schedule", "cosine"], {"settings.schedule": "cosine"}),
    "beta2": (["--beta2", 0.9], {"settings.beta2": 0.9}),
    "masked_share": (["--masked-share", 0.4], {
        "settings.masked_share": 0.4, "settings.last_masked_share": 0.4}),
    "last_masked_share": (["--last-masked-share", 0.2], {"settings.last_masked_share": 0.2}),
    "initialization": (["--initialization", "random"], {
        "settings.initialization": "random", "weights": OTHER}),
    "architecture": None,  # see tests/cli/test_architecture.py
    "sentence_order": None,
    "objective": None,  # see tests/cli/test_replaced_tokens.py
    "next_sentence": (["--next-sentence"], {"kind": "BertForPreTraining", "weights": OTHER}),
    "steps": (["--steps", 7], {"settings.steps": 7}),
    "minutes": (["--minutes", 3], {"settings.steps": 333, "settings.chosen":
        "size tiny, batch size 64, 333 steps for 3 minutes"}),
    "out": ({"out": "elsewhere"}, {"run": OTHER}),
    "whole_words": (["--whole-words"], {"settings.whole_words": True}),
    "model": None,  # see tests/cli/test_continued.py
    "new_words": None,
    "dtype": None,  # see tests/cli
    "keep_checkpoints": None,
    "resume": None,  # see test_resume
}  # fmt: skip


def tuning(folder, *more, file="rows.jsonl", out="never", start=("--tokenizer", "tokenizer")):
    """Without a model, from a tokenizer; `start` replaces it."""
    return ["finetune", folder / file, "--out", folder / out, *start, *more]


def each_has(word):
    """Return a function that tells whether each of several texts contains a word."""
    return lambda texts: all(word in text for text in texts)


SPLIT = {"examples.texts": OTHER, "held_out.texts": OTHER, "settings.data": OTHER}
LABELS = {"examples.labels": OTHER, "held_out.labels": OTHER}
LENGTHS = {"settings.steps": OTHER, "settings.evaluate_every": OTHER}
BODY = {  # of a pre-trained model, for any strategy
    "config.intermediate_size": 6, "config.max_position_embeddings": 16, "weights": OTHER,
    "config.initializer_range": 0.4, **LENGTHS, "recipe.epochs": OTHER, "recipe.split_pieces": 0.0,
    "settings.split_pieces": 0.0, "recipe.learning_rate": OTHER, "settings.learning_rate": OTHER,
}  # fmt: skip
FINETUNE = {
    "file": ({"file": "test.jsonl"}, {**SPLIT, **LABELS, "weights": OTHER}),
    "dev": (["--dev", "dev.jsonl"], {**SPLIT, **LABELS,
        "weights": OTHER,
        "held_out.texts": lambda texts: len(texts) == 10}),
    "dev_share": (["--dev-share", 0.45], {**SPLIT, **LABELS, "weights": OTHER,
        "held_out.texts": lambda texts: len(texts) == 8}),
    "split_seed": (["--split-seed", 5], SPLIT),
    "task": (["--task", "multi-label"], {**SPLIT, **LABELS, "weights": OTHER, "task": "multi-label",
        "config.problem_type": "multi_label_classification"}),
    "model": ({"start": ["--model", "body", "--strategy", "direct"]}, {
        **BODY, "settings.layer_decay": 0.8, "recipe.layer_decay": 0.8, "recipe.batch_size": 16,
        "settings.batch_size": 16}),
    "tokenizer": ({"start": ["--tokenizer", "cased"]}, {
        "settings.tokenizer": OTHER, "normalizer": OTHER}),
    "size": (["--size", "mini"], {"config.num_hidden_layers": 1, "weights": OTHER}),
    "length": (["--length", 9], {"config.max_position_embeddings": 9, "weights": OTHER}),
    "activation": (["--activation", "relu"], {"config.hidden_act": "relu"}),
    "positions": (["--positions", "sinusoidal"], {
        "config.position_embedding_type": "sinusoidal", "weights": OTHER}),
    "dropout": (["--dropout", 0.25], {"config.hidden_dropout_prob": 0.25,
        "config.attention_probs_dropout_prob": 0.25}),
    "text": (["--text", "content"], {"settings.data": OTHER, "weights": OTHER,
        "examples.texts": each_has("was red"),
        "held_out.texts": each_has("was red")}),
    "label": (["--label", "kind"], {**SPLIT, **LABELS, "weights": OTHER}),
    "pair": (["--pair", "second"], {"settings.data": OTHER, "weights": OTHER,
        "examples.pairs": each_has("ran"),
        "held_out.pairs": each_has("ran")}),
    "batch_size": (["--batch-size", 5], {"settings.batch_size": 5, "recipe.batch_size": 5,
        **LENGTHS}),
    "learning_rate": (["--learning-rate", 0.5], {"settings.learning_rate": 0.5,
        "recipe.learning_rate": 0.5}),
    "warmup": (["--warmup", 0.25], {"settings.warmup": 0.25}),
    "weight_decay": (["--weight-decay", 0.5], {"settings.weight_decay": 0.5}),
    "clip": (["--clip", 0.5], {"settings.clip": 0.5}),
    "seed": (["--seed", 5], {"settings.seed": 5, "weights": OTHER}),
    "shards": (["--shards", 3], {"settings.shards": 3}),
    "threads": (["--threads", 3], {"threads": 3}),
    "gradient_checkpointing": (["--gradient-checkpointing"], {"block": "Recomputed"}),
    "evaluate_every": (["--evaluate-every", 7], {"settings.evaluate_every": 7}),
    "save_every": (["--save-every", 7], {"settings.save_every": 7}),
    "keep": (["--keep", 7], {"settings.keep": 7}),
    "epochs": (["--epochs", 7], {"recipe.epochs": 7, "settings.steps": 7,
        "settings.evaluate_every": OTHER}),
    "patience": (["--patience", 2], {"settings.patience": 2}),
    "freeze": (["--freeze", 1], {"settings.freeze": 1}),
    "layer_decay": (["--layer-decay", 0.5], {"settings.layer_decay": 0.5,
        "recipe.layer_decay": 0.5}),
    "class_weight": (["--class-weight", "balanced"], {"settings.class_weight": "balanced"}),
    "strategy": ({"start": ["--model", "body", "--strategy", "pairs"]}, {
        **BODY, "settings.strategy": "pairs", "config.num_hidden_layers": 3}),
    "seeds": (["--seeds", 2], {"run": lambda folder: folder.name == "seed-0"}),
    "out": ({"out": "elsewhere"}, {"run": lambda folder: folder.name == "elsewhere"}),
    "keep_checkpoints": None,
    "resume": None,
}  # fmt: skip
COMMANDS = {"pretrain": (pretraining, PRETRAIN), "finetune": (tuning, FINETUNE)}
CASES = [(command, name) for command, (_, table) in COMMANDS.items() for name in table]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_an_entry(command):
    assert {*COMMANDS[command][1]} == options_of(command)


@pytest.fixture(scope="module")
def before():
    return {}


@pytest.mark.parametrize(("command", "name"), CASES)
def test_each_option_changes_what_it_names(command, name, small_workspace, small_presets, before,
                                           monkeypatch):  # fmt: skip
    words_of, table = COMMANDS[command]
    if table[name] is None:
        return
    monkeypatch.setattr("minibert.cli.pretrain_budget.steps_in", lambda *_: 333)
    monkeypatch.setattr("minibert.cli.pretrain_plan.step_seconds", lambda *_: 1000.0)
    monkeypatch.setattr("minibert.cli.pretrain.save_checkpoint", lambda *_: None)
    if command not in before:
        before[command] = training_with(*in_folder(small_workspace, words_of(small_workspace)))
    change, expected = table[name]
    options = change if isinstance(change, dict) else {}
    words = words_of(small_workspace, *([] if options else change), **options)
    base, after = before[command], training_with(*in_folder(small_workspace, words))
    assert after.keys() == base.keys()
    assert {key for key in base if base[key] != after[key]} == {*expected}
    for key, value in expected.items():
        assert value(after[key]) if callable(value) else value in (OTHER, after[key]), key


def in_folder(folder, words):
    """Return the words, with a path for the name of each file in the folder."""
    names = {path.name for path in folder.iterdir()}
    return [folder / word if word in names else word for word in words]
