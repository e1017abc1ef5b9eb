"""FeatureExtractor as a transformer of scikit-learn, and `encode` as in sentence-transformers."""

import json
import pickle
from copy import copy

import numpy as np
import pytest

from minibert import BertConfig, BertModel, FeatureExtractor
from tests.conftest import small_tokenizer

TEXTS = ["the cat sat", "a dog ran under the tree", "big and red"]
TOKENIZER = small_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a model with two prompts, one of them the default."""
    folder = tmp_path_factory.mktemp("model")
    config = BertConfig(vocab_size=len(TOKENIZER), hidden_size=8, num_hidden_layers=2,
                        num_attention_heads=2, intermediate_size=7,
                        max_position_embeddings=16, initializer_range=0.4)  # fmt: skip
    TOKENIZER.save_pretrained(folder)
    BertModel(config, seed=1).save_pretrained(folder)
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate({"": "Transformer", "1_Pooling": "Pooling"}.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true, "include_prompt": false}'
    )
    prompts = {"query": "big dog ", "passage": "red ", "broken": 3}
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": prompts, "default_prompt_name": "passage"})
    )
    return folder


def test_transform_returns_the_vectors_of_texts_pairs_and_tables(folder):
    extractor = FeatureExtractor(folder)
    expected = extractor(TEXTS)
    assert extractor.fit(TEXTS, [0, 1, 0]) is extractor
    for X in (TEXTS, np.array(TEXTS), np.array(TEXTS)[:, None], {"text": TEXTS}):
        np.testing.assert_array_equal(extractor.transform(X), expected)
        np.testing.assert_array_equal(extractor.fit_transform(X, None), expected)
    pairs = [(text, "a mat") for text in TEXTS]
    np.testing.assert_array_equal(extractor.transform(pairs), extractor(TEXTS, ["a mat"] * 3))
    names = extractor.get_feature_names_out()
    assert names.tolist() == [f"featureextractor{i}" for i in range(8)]
    assert names.dtype == object
    for bad in ("a text", ["a", 5], [["a", "b", "c"]]):
        with pytest.raises(TypeError, match=r"^X"):
            extractor.transform(bad)


def test_parameters_are_those_that_were_given(folder, monkeypatch):
    extractor = FeatureExtractor.from_pretrained(folder, pooling="max")
    params = extractor.get_params()
    assert (params["model"], params["pooling"], params["prompt"]) == (folder, "max", None)
    assert repr(extractor) == f"FeatureExtractor(model={folder!r}, pooling='max')"
    again = FeatureExtractor(**params)
    np.testing.assert_array_equal(again(TEXTS), extractor(TEXTS))
    opened = []
    original = BertModel.__mro__[1].from_pretrained.__func__
    monkeypatch.setattr(
        BertModel.__mro__[1],
        "from_pretrained",
        classmethod(lambda cls, *args, **more: opened.append(1) or original(cls, *args, **more)),
    )
    shared = copy(extractor)
    assert shared.set_params(normalize=True, layers=1) is shared
    assert opened == []  # the folder is not read again
    assert (extractor.normalize, extractor.layers) == (False, [2])
    expected = FeatureExtractor(folder, pooling="max", normalize=True, layers=1)
    np.testing.assert_array_equal(shared(TEXTS), expected(TEXTS))
    np.testing.assert_array_equal(
        shared.set_params(pooling="pooler", layers=-1, normalize=False)(TEXTS),
        FeatureExtractor(folder, pooling="pooler")(TEXTS),
    )
    with pytest.raises(ValueError, match="pool: no such parameter of FeatureExtractor, expected"):
        extractor.set_params(pool="max")
    before = extractor(TEXTS)
    for name, bad in (("layers", 7), ("layers", [1.0]), ("pooling", "min"), ("max_length", 99)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            extractor.set_params(**{name: bad})
    np.testing.assert_array_equal(extractor(TEXTS), before)
    assert extractor.get_params()["layers"] == -1
    assert extractor.set_params(layers=np.int64(1)).layers == [1]  # as a grid has them
    assert "layers=array([1, 2])" in repr(extractor.set_params(layers=np.arange(1, 3)))


def test_a_model_and_a_tokenizer_belong_together(folder):
    model = BertModel.from_pretrained(folder)
    with pytest.raises(TypeError, match="tokenizer: expected the tokenizer of the model, got None"):
        FeatureExtractor(model)
    with pytest.raises(ValueError, match=r"tokenizer: leave it out; that of .* is used"):
        FeatureExtractor(folder, TOKENIZER)
    extractor = FeatureExtractor(model, TOKENIZER, pooling="cls")
    assert extractor.get_params()["model"] is model
    assert extractor.prompts == {}
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(extractor))(TEXTS), extractor(TEXTS))


def test_encode_writes_the_named_prompt_before_each_text(folder):
    extractor = FeatureExtractor(folder)
    assert extractor.prompts == {"query": "big dog ", "document": "", "passage": "red "}

    def expected(prompt):
        return FeatureExtractor(folder, prompt=prompt)(TEXTS)

    np.testing.assert_array_equal(extractor.encode(TEXTS), expected("red "))  # the default
    assert np.abs(expected("red ") - expected("big dog ")).max() > 0.1
    for options, prompt in (
        ({"prompt_name": "query"}, "big dog "),
        ({"prompt_name": "document"}, ""),
        ({"prompt": "it "}, "it "),
        ({"prompt": "", "prompt_name": "query"}, ""),  # the prompt itself comes first
    ):
        np.testing.assert_array_equal(extractor.encode(TEXTS, **options), expected(prompt))
    np.testing.assert_array_equal(extractor(TEXTS), expected("red "))  # it is left as it was
    for name in ("broken", "queries"):
        with pytest.raises(ValueError, match="prompt_name: expected one of query, document, pass"):
            extractor.encode(TEXTS, prompt_name=name)
    with pytest.raises(ValueError, match="prompt_name: expected one of none, the model has no pro"):
        FeatureExtractor("tiny").encode(TEXTS, prompt_name="query")


def test_encode_returns_one_vector_of_a_string_and_unit_vectors(folder):
    extractor = FeatureExtractor(folder)
    whole = extractor.encode(TEXTS)
    np.testing.assert_allclose(extractor.encode(TEXTS[1]), whole[1], rtol=1e-5, atol=1e-6)
    assert extractor.encode(TEXTS[1]).shape == (8,)
    assert extractor.encode([]).shape == (0, 8)
    for size in (1, 2, 5):
        blocks = extractor.encode(TEXTS, batch_size=size)
        np.testing.assert_allclose(blocks, whole, rtol=1e-5, atol=1e-6)
    unit = extractor.encode(TEXTS, normalize_embeddings=True)
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, whole / lengths, rtol=1e-6)
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        extractor.encode(TEXTS, batch_size=0)


@pytest.mark.parity
def test_the_extractor_works_in_a_pipeline_with_cross_validation_and_grid_search(folder):
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    texts = ["a red cat", "the red dog", "a big tree", "the big mat"] * 3
    y = ["red", "red", "big", "big"] * 3
    extractor = FeatureExtractor.from_pretrained(folder)
    twin = clone(extractor)
    assert twin is not extractor
    assert twin.model is extractor.model
    pipeline = make_pipeline(extractor, LogisticRegression())
    assert cross_val_score(pipeline, texts, y, cv=2).mean() > 0.7
    assert clone(pipeline).fit(np.array(texts), y).predict(["the red tree"]).shape == (1,)
    assert pipeline.fit(texts, y)[:-1].get_feature_names_out()[0] == "featureextractor0"
    grid = {"featureextractor__pooling": ["cls", "mean"], "featureextractor__layers": [-1, -2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(texts, y)
    assert len(search.cv_results_["params"]) == 4
    assert extractor.pooling == "mean"  # the searched copies are not the original
    named = clone(make_pipeline(FeatureExtractor("tiny"), LogisticRegression()))
    assert named.fit(texts, y).score(texts, y) == 1


@pytest.mark.parity
def test_encode_equals_sentence_transformers(folder):
    transformers = pytest.importorskip("sentence_transformers")
    peer = transformers.SentenceTransformer(str(folder), device="cpu")
    extractor = FeatureExtractor(folder)
    for options in (
        {}, {"prompt_name": "query"}, {"prompt": "it "}, {"normalize_embeddings": True},
    ):  # fmt: skip
        expected = peer.encode(TEXTS, **options)
        np.testing.assert_allclose(extractor.encode(TEXTS, **options), expected, atol=1e-5)
