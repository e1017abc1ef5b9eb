"""Checkpoints: bitwise round trips, other heads, files of other programs, and invalid files."""

import json
import logging
import os
import struct
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    WordPieceTokenizer,
)
from minibert.functional import sinusoidal_positions
from minibert.models import weights
from minibert.models.unit import SAVE, VOCABULARY
from minibert.models.weights import open_weights, write_tensors
from minibert.testing.cases.examples import BATCH, CONFIG, D, labelled_models
from minibert.tokenization import ByteLevelBPETokenizer, UnigramTokenizer
from minibert.tokenization.byte_alphabet import ALPHABET

TASKS = {task.name: task for task in labelled_models()}


def same_scope(one, other, prefix, other_prefix=None):
    """Return whether the parameters with a prefix are equal in two models (bool)."""
    ours = one.params.scope(prefix)
    theirs = other.params.scope(prefix if other_prefix is None else other_prefix)
    return list(ours) == list(theirs) and all((ours[n] == theirs[n]).all() for n in ours)


@pytest.mark.parametrize("name", ["BertModel", *TASKS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_save_and_load_is_bitwise(tmp_path, name, dtype):
    kind, config = (TASKS[name].kind, TASKS[name].config) if name in TASKS else (BertModel, CONFIG)
    model = kind(config, seed=3, dtype=dtype)
    model.save_pretrained(tmp_path / "new")
    back = kind.from_pretrained(tmp_path / "new", dtype=dtype, strict=True)
    assert back.config == model.config
    assert (back.params.vector == model.params.vector).all()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    fields = json.loads((tmp_path / "new/config.json").read_text())
    assert fields["architectures"] == [kind.__name__]
    assert fields["model_type"] == ("modernbert" if "Modern" in name else "bert")


def test_loading_another_head_initializes_the_head(tmp_path, caplog):
    source = BertForMaskedLM(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = BertForSequenceClassification.from_pretrained(tmp_path, seed=5)
    assert same_scope(model, source, "bert.embeddings.")
    assert same_scope(model, source, "bert.encoder.")
    assert np.std(model.params["classifier.weight"]) > 0
    assert len(caplog.messages) == 1
    assert "bert.pooler.dense.weight" in caplog.messages[0]
    assert "classifier.bias" in caplog.messages[0]


def test_loading_accepts_names_with_and_without_the_prefix(tmp_path):
    source = BertModel(CONFIG, seed=3)
    source.save_pretrained(tmp_path / "body")
    head = BertForSequenceClassification.from_pretrained(tmp_path / "body")
    assert same_scope(head, source, "bert.", "")
    head.save_pretrained(tmp_path / "head")
    back = BertModel.from_pretrained(tmp_path / "head")
    assert (back.params.vector == source.params.vector).all()


def test_loading_with_other_classes_initializes_the_classifier(tmp_path, caplog):
    source = BertForSequenceClassification(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path, id2label={0: "x", 1: "y"})
    assert model.config.num_labels == 2
    assert model.params["classifier.weight"].shape == (2, D)
    assert same_scope(model, source, "bert.")
    assert "classifier.weight" in caplog.text


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_sinusoidal_positions_are_saved_as_a_table_and_loaded_as_fixed(tmp_path, kind):
    config = BertConfig(**{**vars(CONFIG), "position_embedding_type": "sinusoidal"})
    model = kind(config, seed=1)
    assert not any("position" in name for name in model.params)
    model.save_pretrained(tmp_path)
    name = f"{kind.prefix}embeddings.position_embeddings.weight"
    table = load_file(tmp_path / "model.safetensors")[name]
    np.testing.assert_array_equal(table, sinusoidal_positions(8, D).astype(np.float32))
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields["position_embedding_type"] == "absolute"  # for other programs
    back = kind.from_pretrained(tmp_path, strict=True)
    assert back.config == config
    assert (back.params.vector == model.params.vector).all()


def test_trained_sinusoidal_positions_are_loaded_as_learned_ones(tmp_path, caplog):
    config = BertConfig(**{**vars(CONFIG), "position_embedding_type": "sinusoidal"})
    BertModel(config, seed=1).save_pretrained(tmp_path)
    change(tmp_path, lambda arrays: arrays["embeddings.position_embeddings.weight"].__iadd__(0.5))
    back = BertModel.from_pretrained(tmp_path)
    assert back.config.position_embedding_type == "absolute"
    expected = sinusoidal_positions(8, D).astype(np.float32) + np.float32(0.5)
    np.testing.assert_array_equal(back.params["embeddings.position_embeddings.weight"], expected)
    assert "so they are read as learned ones" in caplog.text


def change(folder, how):
    """Change the arrays of a checkpoint in place."""
    arrays = load_file(folder / "model.safetensors")
    how(arrays)
    save_file(arrays, folder / "model.safetensors")


def change_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def write_raw(path, tensors):
    """Write a safetensors file from (dtype, shape, bytes) by name, without a library."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def bfloat16(array):
    """Return the upper halves of float32 values, which is bfloat16 (uint16 array)."""
    return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


FORMATS = {
    "F16": (lambda a: a.astype("<f2").tobytes(), lambda a: a.astype(np.float16)),
    "F64": (lambda a: a.astype("<f8").tobytes(), lambda a: a),
    "BF16": (bfloat16, lambda a: (a.view(np.uint32) & 0xFFFF0000).view(np.float32)),
}


@pytest.mark.parametrize("dtype", FORMATS)
def test_loading_converts_other_dtypes(tmp_path, dtype):
    source = BertModel(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    content, expected = FORMATS[dtype]
    raw = {name: (dtype, array.shape, content(array)) for name, array in source.params.items()}
    write_raw(tmp_path / "model.safetensors", raw)
    back = BertModel.from_pretrained(tmp_path)
    assert back.params.vector.dtype == np.float32
    for name, array in source.params.items():
        assert (back.params[name] == expected(array)).all(), name


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_all_16_bit_values_are_read_exactly(tmp_path, dtype):
    words = np.arange(1 << 16, dtype="<u2")  # including subnormals, infinities and NaN
    write_raw(tmp_path / "model.safetensors", {"x": (dtype, words.shape, words.tobytes())})
    with open_weights(tmp_path) as tensors:
        read = tensors["x"].read().astype(np.float32)
    sign = np.where(words >> 15, -1.0, 1.0)
    digits, bias = (10, 15) if dtype == "F16" else (7, 127)
    exponent = (words & 0x7FFF).astype(int) >> digits
    fraction = (words & ((1 << digits) - 1)) / 2.0**digits
    exact = sign * np.ldexp(fraction + (exponent > 0), np.maximum(exponent, 1) - bias)
    exact[exponent == 2 * bias + 1] = np.inf
    exact[(exponent == 2 * bias + 1) & (fraction > 0)] = np.nan
    exact = np.where(np.isinf(exact), sign * np.inf, exact)
    np.testing.assert_array_equal(read, exact)
    assert (np.signbit(read) == (sign < 0)).all()


def test_tensors_at_any_byte_and_of_any_size_are_read(tmp_path, monkeypatch):
    """Other programs need not align the numbers; those of no axis, or of none, are tensors, too."""
    monkeypatch.setattr("minibert.io.number_files.BLOCK", 5)
    numbers = np.random.default_rng(0).standard_normal((4, 3))
    arrays = {
        "byte": ("I8", (1,), b"a"),
        "double": ("F64", (4, 3), numbers.tobytes()),
        "half": ("BF16", (4, 3), bfloat16(numbers)),
        "none": ("F32", (0, 3), b""),
        "scalar": ("F32", (), np.float32(3).tobytes()),
    }
    write_raw(tmp_path / "model.safetensors", arrays)
    with open_weights(tmp_path) as tensors:
        np.testing.assert_array_equal(tensors["double"].read(), numbers)
        np.testing.assert_array_equal(tensors["double"].part(1, 2).read(), numbers[2:])
        np.testing.assert_allclose(tensors["half"].part(1, 4).read(), numbers[1:2], rtol=2**-7)
        assert tensors["none"].read().shape == (0, 3)
        assert tensors["scalar"].read() == 3
        place = np.zeros((4, 3), np.float32)
        tensors["double"].read_into(place)
        np.testing.assert_array_equal(place, numbers.astype(np.float32))
        for wrong in (place[:3], np.zeros((3, 4)).T):
            with pytest.raises(ValueError, match="double: expected a contiguous array of 12"):
                tensors["double"].read_into(wrong)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_weights_that_are_cut_while_they_are_read_are_an_error_that_names_them(tmp_path, dtype):
    """A mapped file would end the process."""
    content = bfloat16(np.ones(5000)) if dtype == "BF16" else np.ones(5000, "<f4").tobytes()
    path = tmp_path / "model.safetensors"
    write_raw(path, {"x": (dtype, (5000,), content)})
    with open_weights(tmp_path) as tensors:
        os.truncate(path, 5000)
        with pytest.raises(OSError, match=r"model\.safetensors: cut while it was read"):
            tensors["x"].read()


def test_weights_that_are_cut_after_their_header_was_checked_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_raw(path, {"x": ("F32", (50,), np.ones(50, "<f4").tobytes())})
    right, content = weights.safe_open, path.read_bytes()

    @contextmanager
    def cut_afterwards(*arguments, **options):
        with right(*arguments, **options) as file:
            yield file
        path.write_bytes(content[:-1])

    monkeypatch.setattr(weights, "safe_open", cut_afterwards)
    message = r"model\.safetensors: cut while it was read; start again"
    with pytest.raises(OSError, match=message), open_weights(tmp_path) as tensors:
        tensors["x"].read()


def test_loading_combines_shards(tmp_path):
    source = BertForMaskedLM(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    into_shards(tmp_path)
    back = BertForMaskedLM.from_pretrained(tmp_path, strict=True)
    assert (back.params.vector == source.params.vector).all()


def into_shards(folder):
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, weight_map = sorted(arrays), {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: arrays[name] for name in part}, folder / shard)
        weight_map.update(dict.fromkeys(part, shard))
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_loading_accepts_historic_names_and_ignores_other_tensors(tmp_path):
    source = BertForPreTraining(CONFIG, seed=3)
    source.save_pretrained(tmp_path)

    def age(arrays):
        for name in list(arrays):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            arrays[old.replace("LayerNorm.bias", "LayerNorm.beta")] = arrays.pop(name)
        arrays["cls.predictions.decoder.bias"] = arrays.pop("cls.predictions.bias")
        arrays["cls.predictions.decoder.weight"] = arrays[
            "bert.embeddings.word_embeddings.weight"
        ].copy()
        arrays["bert.embeddings.position_ids"] = np.arange(8)[None]

    change(tmp_path, age)
    assert not any(
        name.endswith("LayerNorm.bias") for name in load_file(tmp_path / "model.safetensors")
    )
    back = BertForPreTraining.from_pretrained(tmp_path, strict=True)
    assert (back.params.vector == source.params.vector).all()


def test_loading_accepts_both_names_of_the_decoder_bias(tmp_path):
    source = BertForMaskedLM(CONFIG, seed=3)
    source.params["cls.predictions.bias"][:] = 7
    source.save_pretrained(tmp_path)
    change(tmp_path, lambda arrays: arrays.update(
        {"cls.predictions.decoder.bias": arrays["cls.predictions.bias"].copy()}))  # fmt: skip
    back = BertForMaskedLM.from_pretrained(tmp_path, strict=True)
    assert (back.params.vector == source.params.vector).all()


@pytest.mark.parametrize("other", [BertForTokenClassification, BertForMultipleChoice])
def test_classifier_of_another_task_is_not_loaded(tmp_path, other, caplog):
    config = BertConfig(**{**vars(CONFIG), "id2label": {0: "a"}})  # one class: one logit per choice
    source = other(config, seed=3)
    source.params["classifier.weight"][:] = 7
    source.save_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path, seed=5)
    assert not (model.params["classifier.weight"] == 7).any()
    assert "newly initialized" in caplog.text
    with pytest.raises(ValueError, match=rf"such as .*; it is a {other.__name__}$"):
        BertForSequenceClassification.from_pretrained(tmp_path, strict=True)
    assert (other.from_pretrained(tmp_path, strict=True).params["classifier.weight"] == 7).all()


def test_loading_fewer_layers_takes_the_first(tmp_path):
    source = BertModel(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    first = BertModel.from_pretrained(tmp_path, num_hidden_layers=1)
    assert len(first.bert.encoder.blocks) == 1
    out = source(**BATCH, output_hidden_states=True).hidden_states[1]
    assert (first(**BATCH).last_hidden_state == out).all()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("gelu_pytorch_tanh", "gelu_new"), ("gelu_fast", "gelu_new"), ("gelu_python", "gelu")],
)
def test_config_accepts_other_names_of_activations(tmp_path, theirs, ours):
    BertModel(CONFIG).save_pretrained(tmp_path)
    change_config(tmp_path, hidden_act=theirs, pad_token_id=None)
    assert BertModel.from_pretrained(tmp_path).config.hidden_act == ours


def test_failed_save_leaves_the_old_files_unchanged(tmp_path, monkeypatch):
    old = BertModel(CONFIG, seed=1)
    old.save_pretrained(tmp_path)

    def full(arrays, path, **metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minibert.models.checkpoints.write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        BertModel(BertConfig.preset("tiny", vocab_size=50), seed=2).save_pretrained(tmp_path)
    back = BertModel.from_pretrained(tmp_path)  # the config is the old one too
    assert back.config == CONFIG
    assert (back.params.vector == old.params.vector).all()
    assert len(list(tmp_path.iterdir())) == 2


class Killed(BaseException):
    """Simulates a signal that ends the process."""


def killed_at(rename, work):
    """Run `work` until rename number `rename`, from 0; return whether it was interrupted."""
    right, calls = Path.replace, []

    def replace(path, to):
        calls.append(path)
        if len(calls) > rename:
            raise Killed
        return right(path, to)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        try:
            work()
        except Killed:
            return True
    return False


def labelled(*labels, seed=0):
    config = replace(CONFIG, id2label=dict(enumerate(labels)))
    return BertForSequenceClassification(config, seed=seed)


def state_of(model):
    return model.config, model.params.vector.tobytes()


OLD, NEW = labelled("no", "yes", seed=1), labelled("yes", "no", seed=2)


@pytest.mark.parametrize("other", [NEW, labelled("yes", "no", seed=1), labelled("no", "yes")])
def test_interrupted_save_is_refused(tmp_path, other, caplog):
    """Also if only the labels or only the weights differ."""
    seen, rename = [], 0
    while not seen or seen[-1] != state_of(other):
        OLD.save_pretrained(tmp_path)
        assert killed_at(rename, lambda: other.save_pretrained(tmp_path)) == (rename < 2)
        try:
            seen.append(state_of(BertForSequenceClassification.from_pretrained(tmp_path)))
        except ValueError as error:
            seen.append(str(error))
        rename += 1
    old, refused, new = seen
    assert (old, new) == (state_of(OLD), state_of(other))
    assert refused.startswith(f"{tmp_path}: config.json and the weights are of two saves")
    assert "\n" not in refused
    assert len(list(tmp_path.iterdir())) == 2
    assert caplog.text == ""


def test_interrupted_save_over_a_model_of_version_1_is_loaded_with_a_warning(tmp_path, caplog):
    OLD.save_pretrained(tmp_path)
    without_field(tmp_path)
    change(tmp_path, lambda arrays: None)
    assert state_of(BertForSequenceClassification.from_pretrained(tmp_path)) == state_of(OLD)
    assert caplog.text == ""
    assert killed_at(1, lambda: NEW.save_pretrained(tmp_path))
    BertForSequenceClassification.from_pretrained(tmp_path)
    (message,) = caplog.messages
    assert f"{tmp_path}: config.json lacks the checksum of the save" in message


def without_field(folder):
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    del fields[SAVE]
    path.write_text(json.dumps(fields))


ELSEWHERE = {
    "config.json edited by hand": lambda folder: change_config(folder, classifier_dropout=0.5),
    "weights without metadata": lambda folder: change(folder, lambda arrays: None),
    "weights in shards": lambda folder: into_shards(folder),
    "neither of them": lambda folder: (change(folder, lambda arrays: None), without_field(folder)),
}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_folder_of_another_program_is_loaded_without_a_warning(tmp_path, how, caplog):
    OLD.save_pretrained(tmp_path)
    ELSEWHERE[how](tmp_path)
    back = BertForSequenceClassification.from_pretrained(tmp_path, strict=True)
    assert (back.params.vector == OLD.params.vector).all()
    assert caplog.text == ""


def test_file_of_another_save_is_refused_until_the_field_is_removed(tmp_path, caplog):
    for name, model in (("old", OLD), ("new", NEW)):
        model.save_pretrained(tmp_path / name)
    (tmp_path / "new" / "config.json").replace(tmp_path / "old" / "config.json")
    with pytest.raises(ValueError, match=f"or remove {SAVE} from config.json if they belong"):
        BertForSequenceClassification.from_pretrained(tmp_path / "old")
    without_field(tmp_path / "old")
    back = BertForSequenceClassification.from_pretrained(tmp_path / "old")
    assert (back.params.vector == OLD.params.vector).all()
    assert "lacks the checksum of the save" in caplog.text


@pytest.mark.parametrize("field", [3, None, ["a"], {"a": 1}, ""])
def test_save_field_of_another_type_is_refused_or_ignored(tmp_path, field):
    OLD.save_pretrained(tmp_path)
    change_config(tmp_path, **{SAVE: field, VOCABULARY: field})
    if field is None:
        BertForSequenceClassification.from_pretrained(tmp_path)
        return
    with pytest.raises(ValueError, match="are of two saves"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def test_save_writes_the_same_bytes_for_the_same_model(tmp_path):
    for name in "abc":
        labelled("no", "yes", seed=1).save_pretrained(tmp_path / name)
    BertForSequenceClassification.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "d")
    for file in ("config.json", "model.safetensors"):
        assert len({(tmp_path / name / file).read_bytes() for name in "abcd"}) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_write_tensors_writes_the_bytes_of_safetensors(tmp_path, dtype):
    model = BertForMaskedLM(CONFIG, seed=3, dtype=dtype)
    arrays = {**model.params, "ü": np.ones((0, 2), dtype), "t": np.arange(6.0).reshape(2, 3).T}
    write_tensors(arrays, tmp_path / "ours", format="pt")
    copies = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    assert (tmp_path / "ours").read_bytes() == save(copies, metadata={"format": "pt"})
    write_tensors(arrays, tmp_path / "ours")
    assert (tmp_path / "ours").read_bytes() == save(copies)


@pytest.mark.skipif(os.name != "posix", reason="the system has no such permissions")
def test_saved_model_has_the_permissions_of_a_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        OLD.save_pretrained(tmp_path / "model")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert modes == {0o640}


def with_pieces(*pieces):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return WordPieceTokenizer([*special, *pieces])


CATS, DOGS = with_pieces("cat", "##s"), with_pieces("dog", "##s")
SAVED_FIRST = {
    "tokenizer": lambda model, tokenizer: (tokenizer.save_pretrained, model.save_pretrained),
    "model": lambda model, tokenizer: (model.save_pretrained, tokenizer.save_pretrained),
}


def warned(folder, caplog):
    caplog.clear()
    BertForSequenceClassification.from_pretrained(folder)
    WordPieceTokenizer.from_pretrained(folder)
    return "its vocabulary is not the one with which the model was saved" in caplog.text


@pytest.mark.parametrize("first", SAVED_FIRST)
def test_model_and_tokenizer_can_be_saved_in_either_order(tmp_path, first, caplog):
    for model in (OLD, NEW, OLD):
        for save_pretrained in SAVED_FIRST[first](model, CATS):
            save_pretrained(tmp_path)
        assert not warned(tmp_path, caplog)
        assert caplog.text == ""


def unigram(*pieces):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁"]
    return UnigramTokenizer([(piece, -1.0) for piece in [*special, *pieces]])


def byte_pairs(first, second):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [*special, *ALPHABET, first + second]
    return ByteLevelBPETokenizer(pieces, [(first, second)])


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", [unigram, byte_pairs])
def test_loading_warns_of_another_vocabulary_of_each_kind(tmp_path, kind, bare, caplog):
    if bare and kind is unigram:
        pytest.skip("minibert writes no SentencePiece model")
    for pieces, warns in (("ab", False), ("ab", False), ("cd", True)):
        tokenizer = kind(*pieces)
        tokenizer.save_pretrained(tmp_path)
        if bare:
            (tmp_path / "tokenizer.json").unlink()
        if not warns:
            OLD.save_pretrained(tmp_path)
        caplog.clear()
        BertForSequenceClassification.from_pretrained(tmp_path)
        assert ("not the one with which the model was saved" in caplog.text) == warns


def test_a_model_with_bare_files_of_byte_pairs_is_saved_with_a_complete_tokenizer(tmp_path, caplog):
    byte_pairs("a", "b").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    OLD.save_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path / "again")
    byte_pairs("a", "b").save_pretrained(tmp_path / "again")
    BertForSequenceClassification.from_pretrained(tmp_path / "again")
    assert caplog.text == ""


def test_loading_warns_of_another_vocabulary(tmp_path, caplog):
    """The vocabularies have the same size, so the shapes are equal."""
    for save_pretrained in SAVED_FIRST["tokenizer"](OLD, CATS):
        save_pretrained(tmp_path)
    renames = 0
    while killed_at(renames, lambda: DOGS.save_pretrained(tmp_path)):
        # vocab.txt is renamed first, but tokenizer.json is read first.
        assert warned(tmp_path, caplog) == (renames > 1)
        CATS.save_pretrained(tmp_path)
        renames += 1
    assert renames == 3
    assert warned(tmp_path, caplog)
    NEW.save_pretrained(tmp_path)
    assert not warned(tmp_path, caplog)


def test_model_stores_the_vocabulary_with_which_it_was_loaded(tmp_path, caplog):
    for name, tokenizer in (("cats", CATS), ("dogs", DOGS)):
        for save_pretrained in SAVED_FIRST["tokenizer"](OLD, tokenizer):
            save_pretrained(tmp_path / name)
    model = BertForSequenceClassification.from_pretrained(tmp_path / "dogs")
    model.save_pretrained(tmp_path / "cats")
    assert warned(tmp_path / "cats", caplog)
    DOGS.save_pretrained(tmp_path / "cats")
    assert not warned(tmp_path / "cats", caplog)


def test_vocabulary_saved_by_another_program_is_the_same(tmp_path, caplog):
    for save_pretrained in SAVED_FIRST["tokenizer"](OLD, CATS):
        save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert not warned(tmp_path, caplog)
    path.unlink()
    assert not warned(tmp_path, caplog)
    (tmp_path / "vocab.txt").write_bytes(b"\xff")
    BertForSequenceClassification.from_pretrained(tmp_path)
    assert caplog.text == ""


KEY = "encoder.layer.1.attention.self.key.weight"


def lie(folder):
    """Let two arrays in the header share the same bytes."""
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header[KEY]["data_offsets"] = header["encoder.layer.0.attention.self.key.weight"][
        "data_offsets"
    ]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def index(**weight_map):
    text = json.dumps({"weight_map": weight_map} if weight_map else {"weights": 1})

    def write(folder):
        into_shards(folder)
        (folder / "model.safetensors.index.json").write_text(text)

    return write


def untied(folder):
    BertForMaskedLM(CONFIG).save_pretrained(folder)
    other = {"cls.predictions.decoder.weight": np.ones((CONFIG.vocab_size, D), np.float32)}
    change(folder, lambda arrays: arrays.update(other))


def whole_numbers(arrays):
    arrays[KEY] = arrays[KEY].astype(np.int8)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


WRONG_SHAPE = {"embeddings.LayerNorm.bias": np.zeros(D + 1, np.float32)}
BROKEN = {
    "cut": (cut, ValueError, "model.safetensors: invalid safetensors file"),
    "empty": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        ValueError, "model.safetensors: invalid safetensors file",
    ),
    "lying header": (lie, ValueError, "model.safetensors: invalid safetensors file"),
    "lacking": (
        lambda folder: change(folder, lambda arrays: arrays.pop(KEY)),
        ValueError, rf"lacks 1 arrays of \w+, such as {KEY}; it is a BertModel",
    ),
    "shape": (
        lambda folder: change(folder, lambda arrays: arrays.update(WRONG_SHAPE)),
        ValueError, r"embeddings\.LayerNorm\.bias: expected the shape \(10,\) .* \(11,\)",
    ),
    "whole numbers": (
        lambda folder: change(folder, whole_numbers),
        ValueError, rf"safetensors: {KEY}: expected one of F16, BF16, F32, F64, got I8",
    ),
    "json": (
        lambda folder: (folder / "config.json").write_text("{"),
        ValueError, "config.json: expected JSON in UTF-8",
    ),
    "kind": (
        lambda folder: change_config(folder, model_type="gpt2"),
        ValueError, "config.json: model_type: expected one of albert, bert, .*, got 'gpt2'",
    ),
    "activation": (
        lambda folder: change_config(folder, hidden_act="mish"),
        ValueError, "hidden_act: expected one of gelu, gelu_new, relu, got 'mish'",
    ),
    "positions": (
        lambda folder: change_config(folder, position_embedding_type="relative_key"),
        ValueError, "position_embedding_type: expected one of absolute, sinusoidal, got 'relative",
    ),
    "layers": (
        lambda folder: change_config(folder, num_hidden_layers=1),
        ValueError, "expected the weights of 1 layers from config.json, got 2",
    ),
    "width": (
        lambda folder: change_config(folder, intermediate_size=12),
        ValueError, r"intermediate.dense.weight: expected the shape \(12, 10\) from config",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        FileNotFoundError, "model.safetensors: no such file; expected the folder of a checkpoint",
    ),
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        FileNotFoundError, "config.json: no such file; expected the folder of a checkpoint",
    ),
    "pickle": (pickled, FileNotFoundError, "pytorch_model.bin: not read, .* runs the code in it;"),
    "no shard": (index(a="b.safetensors"), FileNotFoundError, "b.safetensors: no such file; m"),
    "shard elsewhere": (index(a="../b.safetensors"), ValueError, "files in its folder"),
    "shard without it": (
        index(a="model-00001-of-00002.safetensors"), ValueError, "lacks a, which model.safe",
    ),
    "index": (index(), ValueError, "index.json: expected a weight_map with the names"),
    "untied": (untied, ValueError, "decoder.weight: expected the values of the word embeddings"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_invalid_checkpoints_are_refused_in_one_line(tmp_path, how):
    kind = BertForMaskedLM if how == "untied" else BertModel
    kind(CONFIG).save_pretrained(tmp_path)
    damage, error, message = BROKEN[how]
    damage(tmp_path)
    with pytest.raises(error, match=message) as caught:
        kind.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_header_bytes_raise_an_error_or_change_nothing(tmp_path):
    source = BertModel(CONFIG, seed=1)
    source.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    rng = np.random.default_rng(0)
    refused = 0
    for place in [*range(8), *rng.integers(8, 8 + length, 200).tolist()]:
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            back = BertModel.from_pretrained(tmp_path)
        except (ValueError, OSError):
            refused += 1
        else:
            assert np.isfinite(back.params.vector).all()
            assert back.config == source.config
    assert refused > 150


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_loading_needs_the_memory_of_the_model_and_of_one_block(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr("minibert.io.number_files.BLOCK", 4096)
    config = BertConfig.preset("tiny", vocab_size=3000)
    source = BertModel(config)
    source.save_pretrained(tmp_path)
    if dtype == "BF16":
        raw = {name: ("BF16", a.shape, bfloat16(a)) for name, a in source.params.items()}
        write_raw(tmp_path / "model.safetensors", raw)
    BertModel.from_pretrained(tmp_path)  # imports and caches
    tracemalloc.start()
    model = BertModel.from_pretrained(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < model.params.vector.nbytes + 200_000  # names and Python objects


def test_checkpoint_folder_names_the_extra_for_hub_names(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    for kind in (BertModel, WordPieceTokenizer):
        with pytest.raises(FileNotFoundError, match=r"google-bert/tiny: .* extra minibert\[hub\]"):
            kind.from_pretrained("google-bert/tiny")
        with pytest.raises(
            FileNotFoundError, match=r"^nowhere/\w+\.\w+: no such.*owner/name.*minibert\[hub\]"
        ):
            kind.from_pretrained("nowhere")
