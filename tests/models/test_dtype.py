"""Weights that are saved in another dtype."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from minibert import BertConfig, BertForMaskedLM, BertModel
from minibert.models.weights import CODES
from minibert.testing.cases.examples import CONFIG

TENSOR = "bert.encoder.layer.1.output.dense.bias"


@pytest.mark.parametrize("dtype", ["float16", np.float16, "float32", "float64", None])
def test_weights_are_saved_in_a_dtype_and_load_in_float32(tmp_path, dtype):
    model = BertForMaskedLM(CONFIG, seed=3)
    before = model.params.vector.copy()
    model.save_pretrained(tmp_path, dtype=dtype)
    assert (model.params.vector == before).all()
    assert model.params.vector.dtype == np.float32
    name = np.dtype(dtype or "float32").name
    tensors = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype.name for tensor in tensors.values()} == {name}
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields.get("dtype") == (name if dtype else None)
    back = BertForMaskedLM.from_pretrained(tmp_path, strict=True)
    assert back.params.vector.dtype == np.float32
    assert (back.params.vector == before.astype(name).astype(np.float32)).all()
    back.save_pretrained(tmp_path)  # the dtype of the file is not remembered
    assert "dtype" not in json.loads((tmp_path / "config.json").read_text())


def test_float16_halves_the_file(tmp_path):
    model = BertForMaskedLM(CONFIG, seed=3)
    for dtype in ("float16", "float32"):
        model.save_pretrained(tmp_path / dtype, dtype=dtype)
    half, whole = ((tmp_path / dtype / "model.safetensors").stat().st_size
                   for dtype in ("float16", "float32"))  # fmt: skip
    assert whole - half == pytest.approx(2 * model.params.vector.size, abs=300)  # the headers


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65520.0), ("float32", 1e39)])
def test_a_value_that_overflows_is_refused_with_its_tensor(tmp_path, dtype, value):
    model = BertForMaskedLM(CONFIG, seed=3, dtype=np.float64)
    model.save_pretrained(tmp_path, dtype=dtype)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model.params[TENSOR][2] = -value
    with pytest.raises(ValueError, match=f"{TENSOR}: has values too large for {dtype}, whose max"):
        model.save_pretrained(tmp_path, dtype=dtype)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_the_largest_float16_infinity_and_nan_are_saved(tmp_path):
    model = BertForMaskedLM(CONFIG, seed=3)
    values = [65504.0, -65519.0, np.inf, np.nan, 1e-30]  # 65519 is rounded to 65504
    model.params[TENSOR][: len(values)] = values
    with np.errstate(all="raise"):  # of the caller; 1e-30 is not too large
        model.save_pretrained(tmp_path, dtype="float16")
    back = BertForMaskedLM.from_pretrained(tmp_path).params[TENSOR][: len(values)]
    np.testing.assert_array_equal(back, [65504, -65504, np.inf, np.nan, 0])


def test_small_weights_keep_fewer_bits_in_float16(tmp_path):
    model = BertForMaskedLM(CONFIG, seed=3)
    values = [7e-5, 1e-6, 4e-8, 2.9e-8]
    model.params[TENSOR][: len(values)] = values
    model.save_pretrained(tmp_path, dtype="float16")
    back = BertForMaskedLM.from_pretrained(tmp_path).params[TENSOR][: len(values)]
    errors = np.abs(back / values - 1)
    assert errors[0] < 2**-11 < errors[1] < errors[2] < 1
    assert back[2] > back[3] == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "half\n", object()])
def test_other_dtypes_are_refused(tmp_path, dtype):
    expected = f"dtype: expected one of {', '.join(CODES)}, got .*bfloat16, and float16 needs"
    with pytest.raises(ValueError, match=expected) as caught:
        BertForMaskedLM(CONFIG).save_pretrained(tmp_path / "new", dtype=dtype)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "new").exists()


def test_fixed_positions_in_float16_are_loaded_as_fixed(tmp_path, caplog):
    """They are rounded to float32 first, which differs from rounding once at some positions."""
    sizes = {**vars(CONFIG), "max_position_embeddings": 300, "hidden_size": 64}
    config = BertConfig(**{**sizes, "position_embedding_type": "sinusoidal",
                           "num_attention_heads": 2})  # fmt: skip
    model = BertModel(config, seed=1)
    model.save_pretrained(tmp_path, dtype="float16")
    back = BertModel.from_pretrained(tmp_path, strict=True)
    assert back.config == config
    assert not caplog.messages
    assert not any("position" in name for name in back.params)
