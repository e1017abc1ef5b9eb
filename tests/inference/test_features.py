"""FeatureExtractor: poolings computed by hand, layers, order, threads, folders, errors."""

import json
from functools import partial
from typing import get_args

import numpy as np
import pytest

from examples.pre_norm import pre_norm
from minibert import BertConfig, BertForMaskedLM, BertModel
from minibert.inference import batched
from minibert.inference.features import FeatureExtractor, Pooling
from tests.io.test_rows import SEVERAL, tables

TEXTS = [
    "the cat sat",
    "",
    "a dog ran under the tree and it was big",
    "a cat",
    "red " * 30,
    "a cat",
]


def small(tokenizer, kind=BertModel, **changes):
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = BertConfig.preset(
        "tiny", vocab_size=len(tokenizer), max_position_embeddings=16, **sizes, **changes
    )
    model = kind(config, seed=3)
    for array in model.params.values():
        if array.ndim == 2:
            array *= 5  # away from the initial values, where all tokens have similar states
    return model


def by_hand(model, tokenizer, text, pooling, layers, length=16):
    """Return the vectors of one unpadded text, computed from the model's hidden states."""
    batch = tokenizer.encode_batch([text], max_length=length)
    out = model(**batch, output_hidden_states=True)
    if pooling == "pooler":
        return out.pooler_output
    states = [out.hidden_states[layer][0] for layer in layers]  # (T, D) each
    pool = {"cls": lambda x: x[0], "mean": lambda x: x.mean(0), "max": lambda x: x.max(0)}[pooling]
    return [pool(x) for x in states]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_each_pooling_equals_pooling_by_hand(tokenizer, pooling):
    model = small(tokenizer)
    vectors = FeatureExtractor(model, tokenizer, pooling=pooling)(TEXTS)
    assert vectors.shape == (6, 32)
    assert vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        expected = by_hand(model, tokenizer, text, pooling, [-1])[0]
        np.testing.assert_allclose(vector, expected, atol=2e-6)
    np.testing.assert_allclose(vectors[3], vectors[5], atol=2e-6)  # the same text
    assert np.abs(vectors[0] - vectors[2]).max() > 0.01


@pytest.mark.parametrize("prompt", ["", "red "])
def test_the_column_of_a_table_is_embedded_and_several_are_refused(tokenizer, prompt):
    extractor = FeatureExtractor(small(tokenizer), tokenizer, prompt=prompt)
    texts = ["cat", "a dog", "text"]
    expected = extractor(texts)
    assert (expected != expected[::-1]).any()
    for form, table in tables(texts).items():
        np.testing.assert_array_equal(extractor(table), expected, err_msg=form)
        np.testing.assert_array_equal(extractor(texts, table), extractor(texts, texts))
    assert extractor({"text": []}).shape == (0, 32)
    for table in SEVERAL.values():
        with pytest.raises(TypeError, match="texts"):
            extractor(table)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("layers", [0, -2, 3, [-1, 1], [-4, -3, -2, -1]])
@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_layers_are_concatenated_or_summed(tokenizer, pooling, layers, combine):
    model = small(tokenizer)
    extractor = FeatureExtractor(model, tokenizer, pooling=pooling, layers=layers, combine=combine)
    vectors = extractor(TEXTS)
    assert vectors.shape == (6, extractor.width)
    chosen = [layers] if isinstance(layers, int) else layers
    for text, vector in zip(TEXTS, vectors, strict=True):
        parts = by_hand(model, tokenizer, text, pooling, chosen)
        expected = np.concatenate(parts) if combine == "concat" else sum(parts)
        np.testing.assert_allclose(vector, expected, atol=5e-6)


def test_layers_above_the_last_chosen_one_are_not_computed(tokenizer, monkeypatch):
    model = small(tokenizer)
    last = model.bert.encoder.blocks[-1]
    monkeypatch.setattr(last, "forward", lambda *args, **options: 1 / 0)
    FeatureExtractor(model, tokenizer, layers=-2)(TEXTS)
    with pytest.raises(ZeroDivisionError):
        FeatureExtractor(model, tokenizer)(TEXTS)


def test_normalize_scales_vectors_to_length_one(tokenizer):
    model = small(tokenizer)
    plain = FeatureExtractor(model, tokenizer)(TEXTS)
    unit = FeatureExtractor(model, tokenizer, normalize=True)(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(plain, axis=1)[:, None], plain, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_vectors_do_not_depend_on_order_threads_or_batch_size(tokenizer, monkeypatch, pooling):
    extractor = FeatureExtractor(small(tokenizer), tokenizer, pooling=pooling)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(TEXTS[:4], rng.integers(1, 6))) for _ in range(150)]
    # The order of two texts is not defined if they are equal once they are cut.
    ids = [tuple(tokenizer.encode(text, max_length=extractor.max_length).input_ids)
           for text in texts]  # fmt: skip
    texts = list(dict(zip(ids, texts, strict=True)).values())
    for name in ("MIN_UNPADDED_TOKENS", "MAX_UNPADDED_TOKENS"):
        monkeypatch.setattr(batched, name, 64)
    vectors = extractor(texts, threads=1)
    for threads in (2, 3, 8):
        assert (extractor(texts, threads=threads) == vectors).all()
    order = rng.permutation(len(texts))
    assert (extractor([texts[i] for i in order]) == vectors[order]).all()
    for name in ("MIN_UNPADDED_TOKENS", "MAX_UNPADDED_TOKENS"):
        monkeypatch.setattr(batched, name, 4096)
    np.testing.assert_allclose(extractor(texts), vectors, atol=2e-6)


MANY = {
    "different lengths": ["red " * n for n in (12, 3, 0, 7, 1)],
    "several of a length": ["a cat", "the dog sat", "a dog", "", "red cat", "big and red", ""],
    "one": ["the cat sat"],
    "one empty": [""],
}


@pytest.mark.parametrize("layers", [-1, 0, -2, [3, 0, 1]])
@pytest.mark.parametrize("pooling", [*get_args(Pooling), ["cls", "pooler"], ["max", "mean"]])
def test_vectors_without_padding_equal_those_with_padding(tokenizer, monkeypatch, pooling, layers):
    if "pooler" in pooling and layers != -1:
        return  # refused
    model = small(tokenizer).astype(np.float64)
    options = {"pooling": pooling, "layers": layers}
    if layers == -2:
        options |= {"prompt": "big ", "include_prompt": False, "normalize": True}
    extractor = FeatureExtractor(model, tokenizer, **options)
    for texts in MANY.values():
        vectors = extractor(texts)
        with monkeypatch.context() as patch:
            patch.setattr("minibert.inference.features.runs_unpadded", lambda _: False)
            patch.setattr("minibert.models.unpadded.runs_unpadded", lambda _: False)
            padded = extractor(texts)
        np.testing.assert_allclose(vectors, padded, rtol=1e-12, atol=1e-12)


def test_a_model_with_a_block_of_the_caller_is_padded(tokenizer):
    model = small(tokenizer, partial(BertModel, block=pre_norm))
    extractor = FeatureExtractor(model, tokenizer)
    for text, vector in zip(TEXTS, extractor(TEXTS), strict=True):
        expected = by_hand(model, tokenizer, text, "mean", [-1])[0]
        np.testing.assert_allclose(vector, expected, atol=2e-6)


def test_pairs_are_encoded_and_long_texts_are_cut(tokenizer):
    model = small(tokenizer)
    extractor = FeatureExtractor(model, tokenizer, max_length=8)
    pairs = TEXTS[::-1]
    vectors = extractor(TEXTS, pairs)
    for text, pair, vector in zip(TEXTS, pairs, vectors, strict=True):
        batch = tokenizer.encode_batch([text], [pair], max_length=8)
        expected = model(**batch).last_hidden_state[0].mean(axis=0)
        np.testing.assert_allclose(vector, expected, atol=2e-6)


def test_from_pretrained_reads_the_body_of_any_checkpoint(tokenizer, tmp_path):
    source = small(tokenizer, BertForMaskedLM)
    source.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    vectors = FeatureExtractor.from_pretrained(tmp_path)(TEXTS)
    np.testing.assert_array_equal(vectors, FeatureExtractor(source, tokenizer)(TEXTS))
    with pytest.raises(ValueError, match=r"lacks 2 arrays of BertModel, such as pooler\.dense"):
        FeatureExtractor.from_pretrained(tmp_path, pooling="pooler")


def sentence_folder(folder, tokenizer, **modes):
    """Write a checkpoint as sentence-transformers does."""
    small(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{k}"} for path, k in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    (folder / "1_Pooling").mkdir()
    pooling = {f"pooling_mode_{name}": on for name, on in modes.items()}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"dimension": 32, **pooling}))


@pytest.mark.parametrize(
    ("mode", "pooling"), [("mean_tokens", "mean"), ("cls_token", "cls"), ("max_tokens", "max")]
)
def test_from_pretrained_uses_the_options_of_sentence_transformers(
    tokenizer, tmp_path, mode, pooling
):
    sentence_folder(tmp_path, tokenizer, **{"mean_tokens": False, mode: True})
    extractor = FeatureExtractor.from_pretrained(tmp_path)
    assert (extractor.pooling, extractor.normalize, extractor.max_length) == (pooling, True, 12)
    other = FeatureExtractor.from_pretrained(tmp_path, pooling="max", normalize=False, layers=1)
    assert (other.pooling, other.normalize, other.layers) == ("max", False, [1])


def test_from_pretrained_refuses_an_unknown_pooling(tokenizer, tmp_path):
    sentence_folder(tmp_path, tokenizer, mean_tokens=False, median_tokens=True)
    with pytest.raises(ValueError, match=r"pooling: expected one of .*, got .*median_tokens"):
        FeatureExtractor.from_pretrained(tmp_path)
    assert FeatureExtractor.from_pretrained(tmp_path, pooling="mean").pooling == "mean"
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(ValueError, match=r"modules\.json: expected JSON in UTF-8"):
        FeatureExtractor.from_pretrained(tmp_path)


def test_from_pretrained_refuses_an_unknown_module(tokenizer, tmp_path):
    sentence_folder(tmp_path, tokenizer, mean_tokens=True)
    path = tmp_path / "modules.json"
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 500}')
    assert FeatureExtractor.from_pretrained(tmp_path).max_length == 16  # the model's positions
    lstm = {"path": "3_LSTM", "type": "sentence_transformers.models.LSTM"}
    path.write_text(json.dumps([*json.loads(path.read_text()), lstm]))
    with pytest.raises(ValueError, match=r"modules\.json: expected .* Dropout, got LSTM"):
        FeatureExtractor.from_pretrained(tmp_path)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"modules\.json: expected a JSON list, got dict"):
        FeatureExtractor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "median"}, "pooling: expected one of mean, cls, max, pooler, .*got 'median'"),
        ({"combine": "product"}, "combine: expected one of concat, sum, got 'product'"),
        ({"layers": 4}, "layers: expected some of -4 to 3, got 4"),
        ({"layers": []}, r"layers: expected some of -4 to 3, got \[\]"),
        ({"pooling": "pooler", "layers": -2}, "pooling: expected a model with a pooler, and its"),
        ({"max_length": 17}, "max_length: expected 3 to 16 tokens, got 17"),
        ({"max_length": 2}, "max_length: expected 3 to 16 tokens, got 2"),
    ],
)
def test_invalid_options_raise_value_error(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(small(tokenizer), tokenizer, **options)


def test_nonfinite_vectors_and_a_single_string_raise(tokenizer):
    model = small(tokenizer)
    model.params.vector[:] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        FeatureExtractor(model, tokenizer)(TEXTS)
    with pytest.raises(TypeError, match="texts: expected several, got one string"):
        FeatureExtractor(model, tokenizer)("a text")


@pytest.mark.parametrize("layers", [-1, [-2, -1]])
def test_no_texts_have_no_vectors(tokenizer, layers):
    extractor = FeatureExtractor(small(tokenizer), tokenizer, layers=layers)
    vectors = extractor(["a cat"])
    for nothing in ([], (), np.array([], object)):
        found = extractor(nothing)
        assert (found.shape, found.dtype) == ((0, extractor.width), vectors.dtype)
        assert np.concatenate([found, vectors]).tolist() == vectors.tolist()
    with pytest.raises(ValueError, match="texts: expected at least one"):
        extractor([], ["a pair"])
