"""Cross-encoders: scores, ranks, and the settings of their folders."""

import json

import numpy as np
import pytest

from minibert import BertConfig, BertForSequenceClassification, CrossEncoder
from minibert.inference.cross_encoder import read_activation, sigmoid

PAIRS = [
    ("the cat", "a cat sat"),
    ("the cat", "the tree"),
    ("a dog ran", "the cat " * 20),
    ("", ""),
]
SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"
MODULE = {"idx": 0, "name": "0", "path": "",
          "type": "sentence_transformers.base.modules.transformer.Transformer"}  # fmt: skip


def new_model(tokenizer, labels=1, **changes):
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=16, initializer_range=0.5,
        id2label={i: f"LABEL_{i}" for i in range(labels)}, **changes,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def plain_logits(model, tokenizer, pairs, longest=16):
    """Return the logits of each pair alone (S, C)."""
    rows = [tokenizer.encode(a, b, max_length=longest) for a, b in pairs]
    return np.concatenate([model([row.input_ids], [row.token_type_ids]).logits for row in rows])


def save(folder, tokenizer, labels=1, *, config=None, settings=None, transformer=None):
    """Write a model, further fields of its config.json, and the files of sentence-transformers."""
    tokenizer.save_pretrained(folder)
    model = new_model(tokenizer, labels)
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **(config or {})}))
    if settings is not None:
        (folder / "modules.json").write_text(json.dumps([MODULE]))
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
        (folder / "sentence_bert_config.json").write_text(json.dumps(transformer or {}))
    return model


@pytest.mark.parametrize("labels", [1, 3])
def test_predict_returns_the_scores_of_pairs(tokenizer, labels):
    model = new_model(tokenizer, labels)
    encoder = CrossEncoder(model, tokenizer)
    logits = plain_logits(model, tokenizer, PAIRS).astype(float)
    expected = 1 / (1 + np.exp(-logits[:, 0])) if labels == 1 else logits
    np.testing.assert_allclose(encoder.predict(PAIRS), expected, rtol=1e-4, atol=1e-6)
    raw = encoder.predict(PAIRS, activation_fn="Identity")
    np.testing.assert_allclose(raw, logits[:, 0] if labels == 1 else logits, rtol=1e-4, atol=1e-6)
    doubled = encoder.predict(PAIRS, activation_fn=lambda x: 2 * x)
    np.testing.assert_allclose(doubled, 2 * raw)
    if labels == 3:
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            encoder.predict(PAIRS, apply_softmax=True), shares, rtol=1e-4, atol=1e-6
        )
    assert encoder.predict([]).shape == ((0,) if labels == 1 else (0, 3))
    assert encoder.predict(PAIRS, threads=1).tolist() == encoder.predict(PAIRS, threads=3).tolist()


def test_rank_sorts_documents_by_score(tokenizer):
    encoder = CrossEncoder(new_model(tokenizer), tokenizer)
    documents = ["a cat", "the tree", "dogs ran and ran", "a cat"]
    scores = encoder.predict([("the cat", each) for each in documents])
    ranked = encoder.rank("the cat", documents)
    assert [each["corpus_id"] for each in ranked] == np.argsort(-scores, kind="stable").tolist()
    assert [each["score"] for each in ranked] == [
        float(scores[each["corpus_id"]]) for each in ranked
    ]
    (first,) = encoder.rank("the cat", documents, 1, return_documents=True)
    assert first == {**ranked[0], "text": documents[ranked[0]["corpus_id"]]}
    with pytest.raises(ValueError, match="rank: expected a model with one label, got 2"):
        CrossEncoder(new_model(tokenizer, 2), tokenizer).rank("a", ["b"])
    with pytest.raises(ValueError, match="top_k: expected at least 1, got 0"):
        encoder.rank("a", ["b"], 0)
    with pytest.raises(TypeError, match="documents: expected several"):
        encoder.rank("a", "b")


@pytest.mark.parametrize(
    ("config", "settings", "expected"),
    [
        ({}, None, "Sigmoid"),
        ({"problem_type": "regression"}, None, "Identity"),
        ({"problem_type": "regression", "sentence_transformers": {"activation_fn": SIGMOID}}, None,
         "Sigmoid"),
        ({"sentence_transformers": {"activation_fn": IDENTITY}}, None, "Identity"),
        ({"sbert_ce_default_activation_function": IDENTITY}, None, "Identity"),
        ({}, {"model_type": "CrossEncoder", "activation_fn": IDENTITY}, "Identity"),
        ({"sentence_transformers": {"activation_fn": IDENTITY}},
         {"model_type": "CrossEncoder", "activation_fn": SIGMOID}, "Sigmoid"),
    ],
)  # fmt: skip
def test_from_pretrained_reads_the_activation(tokenizer, tmp_path, config, settings, expected):
    model = save(tmp_path, tokenizer, config=config, settings=settings)
    encoder = CrossEncoder.from_pretrained(tmp_path)
    logits = plain_logits(model, tokenizer, PAIRS)[:, 0]
    wanted = logits if expected == "Identity" else sigmoid(logits)
    np.testing.assert_allclose(encoder.predict(PAIRS), wanted, rtol=1e-4, atol=1e-6)
    stated = read_activation(tmp_path)
    assert (stated is None) == (not settings and not config.keys() - {"problem_type"})
    assert stated in (None, encoder.activation_fn)


def test_from_pretrained_reads_length_and_prompt(tokenizer, tmp_path):
    settings = {"model_type": "CrossEncoder", "prompts": {"q": "dog "}, "default_prompt_name": "q"}
    transformer = {"max_seq_length": 9, "transformer_task": "sequence-classification",
                   "modality_config": {"text": {"method": "forward",
                                                "method_output_name": "logits"}},
                   "module_output_name": "scores"}  # fmt: skip
    model = save(tmp_path, tokenizer, settings=settings, transformer=transformer)
    encoder = CrossEncoder.from_pretrained(tmp_path)
    assert (encoder.max_length, encoder.prompt) == (9, "dog ")
    logits = plain_logits(model, tokenizer, [("dog " + a, b) for a, b in PAIRS], 9)[:, 0]
    np.testing.assert_allclose(encoder.predict(PAIRS), sigmoid(logits), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="prompt: expected none to save"):
        encoder.save_pretrained(tmp_path / "again")


@pytest.mark.parametrize("activation", ["Identity", "Sigmoid", "Tanh"])
def test_a_saved_cross_encoder_is_the_same(tokenizer, tmp_path, activation):
    encoder = CrossEncoder(new_model(tokenizer), tokenizer, activation_fn=activation)
    encoder.save_pretrained(tmp_path)
    again = CrossEncoder.from_pretrained(tmp_path)
    assert again.predict(PAIRS).tolist() == encoder.predict(PAIRS).tolist()
    assert again.activation_fn is encoder.activation_fn
    encoder.activation_fn = np.exp
    with pytest.raises(ValueError, match="activation_fn: expected one of Identity"):
        encoder.save_pretrained(tmp_path)


def test_cross_encoder_refuses_bad_input(tokenizer, tmp_path):
    encoder = CrossEncoder(new_model(tokenizer), tokenizer)
    for pairs in ["a cat", [("a", "b"), ("a", "b", "c")], [("a", 1)], [{"a": 1, "b": 2}]]:
        with pytest.raises(TypeError, match=r"pairs\[[01]\]: expected a pair of strings, got"):
            encoder.predict(pairs)
    with pytest.raises(ValueError, match=r"activation_fn: expected one of Identity, .*got 'Step'"):
        CrossEncoder(new_model(tokenizer), tokenizer, activation_fn="Step")
    for length in (2, 17):
        with pytest.raises(ValueError, match="max_length: expected 3 to 16 tokens"):
            CrossEncoder(new_model(tokenizer), tokenizer, max_length=length)
    for name in ("os.system", "torch.nn.modules.activation.Hardtanh"):
        config = {"sentence_transformers": {"activation_fn": name}}
        save(tmp_path, tokenizer, config=config)
        with pytest.raises(ValueError, match=rf"expected torch\.nn's .*got '{name}'"):
            CrossEncoder.from_pretrained(tmp_path)
    save(tmp_path, tokenizer, settings={"model_type": "SentenceTransformer"})
    with pytest.raises(ValueError, match="model_type: expected CrossEncoder, got"):
        CrossEncoder.from_pretrained(tmp_path)
    (tmp_path / "modules.json").write_text(
        json.dumps([MODULE, {**MODULE, "type": "sentence_transformers.X"}])
    )
    with pytest.raises(ValueError, match="expected a Transformer alone, got Transformer, X"):
        CrossEncoder.from_pretrained(tmp_path)
    broken = new_model(tokenizer)
    broken.params["classifier.bias"][:] = np.inf
    with pytest.raises(FloatingPointError, match="a logit is not finite"):
        CrossEncoder(broken, tokenizer).predict(PAIRS)
