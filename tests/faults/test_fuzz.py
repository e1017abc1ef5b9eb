"""Untrusted files are read or refused in one line; `python -m tests.faults` fuzzes longer."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from minibert import BertForMaskedLM, BertModel
from minibert.cli import main
from minibert.training import AdamW
from minibert.training.checkpoint import restore_optimizer
from tests.faults.mutation import mutated
from tests.faults.targets import CONFIG, TARGETS

# Per target: 8, and 20 in `.ci/full`. Findings of longer runs have separate tests below.
EXAMPLES = settings.default.max_examples // 5


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_are_read_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target, folder = TARGETS[name], tmp_path / "files"
    valid = target.valid(folder)
    assert target.feed(folder, valid) is None

    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def feed(data):
        target.feed(folder, data.draw(mutated(valid)))

    feed()


def numbers_in(content, path=()):
    """Yield the path of each integer in a JSON value."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from numbers_in(value, (*path, key))
        elif type(value) is int:
            yield *path, key


def with_number(content, path, number):
    """Return a copy of a JSON value with another number at a path."""
    if not path:
        return number
    first, *rest = path
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[first] = with_number(content[first], rest, number)
    return copy


SIZED = [name for name, target in TARGETS.items() if target.file.endswith(".json")]
NUMBERS = 8  # per target; the numbers of a long list are alike


@pytest.mark.parametrize("name", SIZED)
def test_large_numbers_in_json_take_no_memory(name, tmp_path, monkeypatch):
    """`Target.feed` fails if the size of the file does not explain the memory."""
    monkeypatch.chdir(tmp_path)
    target, folder = TARGETS[name], tmp_path / "files"
    content = json.loads(target.valid(folder))
    paths = list(numbers_in(content))
    for path in paths[:: max(len(paths) // NUMBERS, 1)]:
        refusal = target.feed(folder, json.dumps(with_number(content, path, 50_000_000)).encode())
        assert "\n" not in str(refusal)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Return a function that damages a target's file and returns the error message."""
    monkeypatch.chdir(tmp_path)

    def refuse(name, change):
        target, folder = TARGETS[name], tmp_path / name
        valid = target.valid(folder)
        refusal = target.feed(folder, change(valid))
        assert refusal is not None
        return str(refusal)

    return refuse


def fields(**changes):
    """Return a change of the fields of a JSON file."""
    return lambda raw: json.dumps(json.loads(raw) | changes).encode()


DEEP = b'{"a":' * 100_000


@pytest.mark.parametrize(
    "name", ["tokenizer", "config", "index", "pooling", "run-state", "history", "jsonl"]
)
def test_json_nested_too_deeply_is_refused(refused, name):
    said = refused(name, lambda raw: DEEP + b"\n")
    assert "nested too deeply" in said or "expected a step and figures" in said


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tokenizer", {"added_tokens": [{"id": 0, "content": ["a"]}]}, "expected a string, got l"),
        ("tokenizer", {"added_tokens": [{"id": [0], "content": "a"}]}, "an integer as its id, got"),
        ("tokenizer", {"added_tokens": [{"id": 0, "content": "a", "lstrip": 1}]}, "true or false"),
        ("tokenizer", {"added_tokens": [{"id": 0, "content": "\ud800"}]}, r"text, got '\ud800'"),
        ("tokenizer-config", {"continuing_subword_prefix": "\ud800"}, "prefix: expected a string"),
        ("special-tokens", {"additional_special_tokens": [{"content": {}}]}, "a string, got dict"),
        ("added-tokens", {"<x>": [13]}, "added_tokens.json: added token: expected an integer"),
        ("added-tokens", {"": 15}, "added_tokens.json: added token: expected a text, got an empty"),
        ("sentence-length", {"max_seq_length": "9"}, "max_seq_length: expected an integer, got '9"),
        ("sentence-length", {"max_seq_length": 1}, "max_length: expected 3 to 12 tokens, got 1"),
        ("pooling", {"pooling_mode_x\x1b": True}, "pooling: expected one of"),
        ("run-state", {"settings": [1]}, "trainer_state.json: expected a step, and settings"),
        ("run-state", {"step": "2"}, "trainer_state.json: expected a step, and settings"),
        ("run-state", {"step": 5}, "trainer_state.json: expected a step, and settings"),
        ("run-config", {"architectures": 3}, "has a model of an unknown kind, got BertForMaskedLM"),
        ("run-config", {"architectures": ["a", "\x1b"]}, r"has a and \x1b, got BertForMaskedLM"),
        (
            "config",
            {"layer_norm_eps": 10**400},
            "layer_norm_eps: expected a number from 0 to",
        ),
        ("config-labels", {"num_labels": "3"}, "num_labels: expected a whole number"),
        ("config-labels", {"num_labels": 10**12}, "num_labels: expected at most"),
    ],
)
def test_values_of_another_type_are_named(refused, name, changes, message):
    assert message in refused(name, fields(**changes))


def test_a_model_without_option_types_is_refused(refused):
    def untyped(raw):
        whole = json.loads(raw)
        whole["model"]["max_input_chars_per_word"] = "many"
        return json.dumps(whole).encode()

    message = "tokenizer.json: max_input_chars_per_word: expected an integer, got 'many'"
    assert message in refused("tokenizer", untyped)


def test_modules_of_another_type_are_refused(refused):
    assert "modules.json: expected a list of objects" in refused("sentences", lambda raw: b'["a"]')


@pytest.mark.parametrize("name", ["tsv", "csv"])
def test_control_characters_in_column_names_are_escaped(refused, name):
    message = r"There are: a\x1b[2J, b\u2028, c"
    change = {"tsv": b"a\x1b[2J\tb\xe2\x80\xa8\tc\n1\t2\t3\n",
              "csv": b"a\x1b[2J,b\xe2\x80\xa8,c\n1,2,3\n"}  # fmt: skip
    assert message in refused(name, lambda raw: change[name])


@pytest.mark.parametrize("shard", ["a\nb", "\ud800", "../a", ""])
def test_invalid_names_of_shards_are_refused(refused, shard):
    said = refused("index", lambda raw: json.dumps({"weight_map": {"a": shard}}).encode())
    assert "expected a weight_map with the names of files in its folder" in said


def test_header_with_unprintable_characters_is_reported_in_one_line(refused):
    header = json.dumps({"a": {"dtype": "two\nlines\0"}}).encode()
    said = refused("weights", lambda raw: struct.pack("<Q", len(header)) + header)
    # Older safetensors don't quote the header.
    assert r"two\nlines" in said or said.endswith("InvalidHeaderDeserialization")


def test_moments_of_another_shape_are_refused(tmp_path):
    target = TARGETS["run-moments"]
    target.valid(tmp_path)
    one = {name: np.ones(1, np.float32) for name in ("first", "second")}
    save_file(one, tmp_path / "checkpoint-2" / "optimizer.safetensors")
    optimizer = AdamW(BertForMaskedLM(CONFIG).params)
    with pytest.raises(ValueError, match=r"not this model's moments: first: expected \(\d+,\) in"):
        restore_optimizer(tmp_path / "checkpoint-2", optimizer)
    assert not optimizer.first.any()


def test_config_with_more_layers_than_the_weights_is_not_built(tmp_path):
    """Also without any layer in the weights: naming a billion layers would take all memory."""
    BertModel(CONFIG).save_pretrained(tmp_path)
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "model.safetensors")
    text = CONFIG.to_json().replace('"num_hidden_layers": 2', f'"num_hidden_layers": {10**9}')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"expected the weights of 1000000000 layers from config\.json, got 0"
    ):
        BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tokens-ids", "tokens-ends", "tokens-counts"])
def test_flipped_bit_in_cached_tokens_is_detected_and_repaired(name, tmp_path, caplog):
    target = TARGETS[name]
    valid = target.valid(tmp_path)
    assert target.feed(tmp_path, bytes([valid[0] ^ 1, *valid[1:]])) is None
    assert (tmp_path / target.file).read_bytes() == valid


def test_long_error_messages_are_truncated(tmp_path, capsys):
    table = tmp_path / "rows.tsv"
    table.write_text("\t".join(f"column{i}" for i in range(10_000)) + "\n1\n", "utf-8")
    assert main(["finetune", str(table), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert len(error) < 2100
    assert "rows.tsv, line 2: expected 10000 columns" in error
    assert "found 1" in error


def test_values_that_overflow_are_refused(tmp_path):
    BertModel(CONFIG, dtype=np.float64).save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    arrays["pooler.dense.bias"][0] = 1e300
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"pooler\.dense\.bias: has values too large for float32"):
        BertModel.from_pretrained(tmp_path)
    assert BertModel.from_pretrained(tmp_path, dtype=np.float64).params.vector.max() == 1e300


@pytest.mark.parametrize("shape", [(12, 7), (12,), (6, 8)])
def test_sinusoidal_positions_of_another_shape_are_named(tmp_path, shape):
    config = replace(CONFIG, position_embedding_type="sinusoidal")
    BertForMaskedLM(config).save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    name = "bert.embeddings.position_embeddings.weight"
    arrays[name] = np.zeros(shape, np.float32)
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"position_embeddings\.weight: expected the shape"):
        BertForMaskedLM.from_pretrained(tmp_path)
