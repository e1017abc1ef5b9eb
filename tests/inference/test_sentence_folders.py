"""Folders of sentence-transformers: the same vectors, or one line that names the reason."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from minibert import BertConfig, BertModel, FeatureExtractor
from minibert.functional import activate_forward
from minibert.tokenization import WordPieceTokenizer
from tests.conftest import WORDS

TEXTS = ["the cat sat", "", "A dog RAN under the Tree and it was big", "a cat", "Red " * 30]
WIDTH = 12
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
FORMER = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
    "lasttoken": "lasttoken",
}
DENSE = {"in_features": WIDTH, "out_features": 5, "bias": True}
TANH = {"activation_function": "torch.nn.modules.activation.Tanh"}
PROMPT = {"prompts": {"q": "the Red cat: "}, "default_prompt_name": "q"}


def tokenizer_of(**options):
    letters = "abcdefghijklmnopqrstuvwxyzARDT:"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), *letters]
    continued = [f"##{letter}" for letter in letters]
    return WordPieceTokenizer(list(dict.fromkeys([*pieces, *continued])), **options)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def folder_of(
    folder, *, place="", pooling=None, transformer=None, settings=None, more=(), tokenizer=None
):
    """Write a folder as sentence-transformers does, and return it (path).

    Args:
        folder: where to write.
        place: the folder of the Transformer in it.
        pooling: fields of the Pooling; None: a mean.
        transformer: fields of the Transformer.
        settings: fields of `config_sentence_transformers.json`.
        more: further modules, as pairs of a class name and its fields.
        tokenizer: the model's tokenizer.
    """
    tokenizer = tokenizer or tokenizer_of()
    config = BertConfig.preset(
        "tiny", vocab_size=len(tokenizer), max_position_embeddings=16, hidden_size=WIDTH,
        num_attention_heads=3, intermediate_size=20,
    )  # fmt: skip
    model = BertModel(config, seed=1)
    for array in model.params.values():
        if array.ndim == 2:
            array *= 8  # away from the initial values, where all tokens have similar states
    (folder / place).mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder / place)
    model.save_pretrained(folder / place)
    kinds = [("Transformer", place), ("Pooling", "1_Pooling")]
    kinds += [(kind, f"{i}_{kind}") for i, (kind, _) in enumerate(more, start=2)]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    stated = {"pooling_mode": "mean"} if pooling is None else pooling
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": WIDTH, **stated})
    for (kind, fields), (_, path) in zip(more, kinds[2:], strict=True):
        write_json(folder / path / "config.json", fields)
        if kind == "Dense":
            save_file(dense_arrays(fields), folder / path / "model.safetensors")
    if transformer is not None:
        write_json(folder / place / "sentence_bert_config.json", transformer)
    if settings is not None:
        write_json(folder / "config_sentence_transformers.json", settings)
    return folder


def dense_arrays(fields):
    rng = np.random.default_rng(3)
    shape = fields["out_features"], fields["in_features"]
    arrays = {"linear.weight": rng.normal(size=shape).astype(np.float32)}
    if fields.get("bias", True):
        arrays["linear.bias"] = rng.normal(size=shape[:1]).astype(np.float32)
    if fields.get("use_residual") and shape[0] != shape[1]:
        arrays["residual.weight"] = rng.normal(size=shape).astype(np.float32)
    return arrays


def plain_vectors(folder, texts, length=16):
    """Return the hidden states of each text alone (list of (T, D))."""
    model = BertModel.from_pretrained(folder)
    tokenizer = WordPieceTokenizer.from_pretrained(folder)
    batches = [tokenizer.encode_batch([text], max_length=length) for text in texts]
    return [model(**batch).last_hidden_state[0] for batch in batches]


def pooled_by_hand(x, mode):
    """Pool x (T, D) by one mode."""
    steps = np.arange(1, len(x) + 1)[:, None]
    return {
        "cls": lambda: x[0],
        "max": lambda: x.max(0),
        "mean": lambda: x.sum(0) / len(x),
        "mean_sqrt_len_tokens": lambda: x.sum(0) / len(x) ** 0.5,
        "weightedmean": lambda: (x * steps).sum(0) / steps.sum(),
        "lasttoken": lambda: x[-1],
    }[mode]()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["name", "former keys", "former keys without a prompt"])
def test_each_mode_is_read_from_each_form_of_the_settings(tmp_path, mode, form):
    former = {f"pooling_mode_{FORMER[each]}": each == mode for each in MODES}
    settings = {
        "name": {"pooling_mode": mode},
        "former keys": {**former, "include_prompt": True},
        "former keys without a prompt": {**former, "include_prompt": False},
    }[form]
    extractor = FeatureExtractor.from_pretrained(folder_of(tmp_path, pooling=settings))
    assert extractor.pooling == mode
    expected = [pooled_by_hand(x, mode) for x in plain_vectors(tmp_path, TEXTS)]
    np.testing.assert_allclose(extractor(TEXTS), expected, atol=1e-5)


def test_several_modes_are_concatenated(tmp_path):
    folder_of(tmp_path, pooling={"pooling_mode": ["lasttoken", "mean"]})
    extractor = FeatureExtractor.from_pretrained(tmp_path)
    assert extractor.width == 2 * WIDTH
    expected = [
        np.concatenate([pooled_by_hand(x, mode) for mode in ("lasttoken", "mean")])
        for x in plain_vectors(tmp_path, TEXTS)
    ]
    np.testing.assert_allclose(extractor(TEXTS), expected, atol=1e-5)
    former = {"pooling_mode_lasttoken": True, "pooling_mode_cls_token": True}
    folder_of(tmp_path, pooling=former)
    assert FeatureExtractor.from_pretrained(tmp_path).pooling == ("cls", "lasttoken")
    folder_of(tmp_path, pooling={"pooling_mode_cls_token": False})
    assert FeatureExtractor.from_pretrained(tmp_path).pooling == "mean"


@pytest.mark.parametrize(
    ("stated", "of_tokenizer", "expected"),
    [
        (7, 9, 7),
        (12, 9, 12),
        (None, 9, 9),
        (None, None, 16),
        (None, 500, 16),
        (500, None, 16),
    ],
)
@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_the_maximum_length_is_stated_or_that_of_the_tokenizer_but_at_most_the_positions(
    tmp_path, stated, of_tokenizer, expected, place
):
    tokenizer = tokenizer_of(model_max_length=of_tokenizer)
    transformer = {"max_seq_length": stated}
    folder_of(tmp_path, place=place, transformer=transformer, tokenizer=tokenizer)
    assert FeatureExtractor.from_pretrained(tmp_path).max_length == expected
    (tmp_path / "modules.json").unlink()  # an ordinary checkpoint
    length = FeatureExtractor.from_pretrained(tmp_path / place).max_length
    assert length == min(of_tokenizer or 16, 16)


@pytest.mark.parametrize("strip", [None, True, False])
def test_do_lower_case_applies_to_a_cased_tokenizer(tmp_path, strip):
    tokenizer = tokenizer_of(do_lower_case=False, strip_accents=strip)
    folder_of(tmp_path, transformer={"do_lower_case": True}, tokenizer=tokenizer)
    found = FeatureExtractor.from_pretrained(tmp_path).tokenizer
    assert found.tokenize("CAT") == ["cat"]
    assert found.tokenize("É") == (["e"] if strip else ["[UNK]"])
    folder_of(tmp_path, transformer={"do_lower_case": False}, tokenizer=tokenizer)
    assert FeatureExtractor.from_pretrained(tmp_path).tokenizer.tokenize("DAT")[0] == "D"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("include", [True, False])
def test_the_default_prompt_is_written_before_each_text(tmp_path, mode, include):
    pooling = {"pooling_mode": mode, "include_prompt": include}
    folder_of(tmp_path, pooling=pooling, settings=PROMPT)
    extractor = FeatureExtractor.from_pretrained(tmp_path)
    prompt = PROMPT["prompts"]["q"]
    skipped = 0 if include else 1 + len(extractor.tokenizer.tokenize(prompt))
    steps = np.arange(1, 17)
    for vector, x in zip(
        extractor(TEXTS), plain_vectors(tmp_path, [prompt + text for text in TEXTS]), strict=True
    ):
        expected = pooled_by_hand(x[skipped:], mode)
        if mode == "weightedmean":  # tokens keep their weights
            weights = steps[skipped : len(x), None]
            expected = (x[skipped:] * weights).sum(0) / weights.sum()
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    other = FeatureExtractor.from_pretrained(tmp_path, prompt="")
    is_same = (other([prompt + "a"]) == extractor(["a"])).all()
    assert is_same == (include or mode == "lasttoken")


@pytest.mark.parametrize(
    ("changes", "function"),
    [
        (TANH, np.tanh),
        ({}, np.tanh),
        ({"activation_function": "torch.nn.modules.linear.Identity"}, lambda x: x),
        ({"activation_function": "torch.nn.modules.activation.ReLU"}, lambda x: np.maximum(x, 0)),
        (
            {"activation_function": "torch.nn.modules.activation.GELU"},
            lambda x: activate_forward(x.copy(), None, "gelu")[0],
        ),
        ({"bias": False}, np.tanh),
        ({"use_residual": True}, np.tanh),
        ({"use_residual": True, "out_features": WIDTH}, np.tanh),
    ],
)
def test_dense_modules_are_applied(tmp_path, changes, function):
    fields = {**DENSE, **changes}
    folder_of(tmp_path, more=[("Dense", fields), ("Dropout", {}), ("Normalize", {})])
    extractor = FeatureExtractor.from_pretrained(tmp_path)
    arrays = dense_arrays(fields)
    x = np.array([pooled_by_hand(x, "mean") for x in plain_vectors(tmp_path, TEXTS)])
    out = function(x @ arrays["linear.weight"].T + arrays.get("linear.bias", 0))
    if fields.get("use_residual"):
        out += x @ arrays.get("residual.weight", np.eye(WIDTH)).T
    assert (extractor.width, extractor.normalize) == (fields["out_features"], True)
    expected = out / np.linalg.norm(out, axis=1, keepdims=True)
    np.testing.assert_allclose(extractor(TEXTS), expected, atol=1e-5)


def test_modules_are_applied_in_their_order_and_dimensions_are_cut_last(tmp_path):
    modules = [("Normalize", {}), ("Dense", DENSE), ("Normalize", {})]
    folder_of(tmp_path, more=modules, settings={"truncate_dim": 3})
    extractor = FeatureExtractor.from_pretrained(tmp_path)
    assert extractor.width == 3
    x = np.array([pooled_by_hand(x, "mean") for x in plain_vectors(tmp_path, TEXTS)])
    arrays = dense_arrays(DENSE)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x = np.tanh(x @ arrays["linear.weight"].T + arrays["linear.bias"])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(extractor(TEXTS), x[:, :3], atol=1e-5)
    unit = FeatureExtractor.from_pretrained(tmp_path, normalize=True)(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)


def test_other_readers_open_the_old_layout_too(tmp_path):
    folder_of(tmp_path, place="0_Transformer")
    model = BertModel.from_pretrained(tmp_path)
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("modules.json", [{"type": "my.Pooling", "path": ""}], "a class of sentence_transformers"),
        ("modules.json", [{"type": "sentence_transformers.models.Pooling", "path": "/x"}], "path:"),
        ("modules.json", [{"type": "sentence_transformers.models.Pooling", "path": "../x"}], "th:"),
        ("modules.json", [{"type": "sentence_transformers.models.BoW"}], "Pooling, ..., got BoW"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling: expected one of"),
        ("1_Pooling/config.json", {"pooling_mode": []}, "pooling: expected one of"),
        ("1_Pooling/config.json", {"pooling_mode": 3}, "pooling: expected one of"),
        ("1_Pooling/config.json", {"include_prompt": 1}, "include_prompt: expected true or false"),
        ("2_Dense/config.json", {**DENSE, "activation_function": "os.system"}, "activation_funct"),
        ("2_Dense/config.json", {**DENSE, "in_features": 3}, "expected the arrays"),
        ("2_Dense/config.json", {**DENSE, "module_input_name": "token_embeddings"}, "module_input"),
        ("sentence_bert_config.json", {"do_lower_case": "yes"}, "do_lower_case: expected true"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_length: expected 3 to 16"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task: exp"),
        ("sentence_bert_config.json", {"tokenizer_args": {"x": 1}}, "tokenizer_args: expected {}"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "model_type: exp"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim: expected an int"),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "default_prompt_name:"),
        ("config_sentence_transformers.json", {"prompts": [1]}, "prompts: expected texts by name"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(tmp_path, path, content, message):
    folder_of(tmp_path, more=[("Dense", DENSE)], transformer={}, settings={})
    write_json(tmp_path / path, content)
    with pytest.raises(ValueError, match=message) as caught:
        FeatureExtractor.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_dense_module_needs_its_weights_and_its_width(tmp_path):
    folder_of(tmp_path, more=[("Dense", DENSE)])
    with pytest.raises(ValueError, match=r"pooling: expected vectors of 12 numbers, .* got 24"):
        FeatureExtractor.from_pretrained(tmp_path, layers=[-1, -2])
    (tmp_path / "2_Dense/model.safetensors").rename(tmp_path / "2_Dense/pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"2_Dense/model\.safetensors: no such file; s"):
        FeatureExtractor.from_pretrained(tmp_path)
    folder_of(tmp_path)
    (tmp_path / "1_Pooling/config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"1_Pooling/config\.json: no such file"):
        FeatureExtractor.from_pretrained(tmp_path)


PARITY = {
    **{mode: {"pooling": {"pooling_mode": mode}} for mode in MODES},
    **{f"former {m}": {"pooling": {f"pooling_mode_{FORMER[m]}": True}} for m in MODES},
    **{
        f"prompt, {m}": {
            "pooling": {"pooling_mode": m, "include_prompt": False},
            "settings": PROMPT,
        }
        for m in MODES
    },
    "all former keys": {"pooling": {f"pooling_mode_{key}": True for key in FORMER.values()}},
    "several": {"pooling": {"pooling_mode": ["max", "cls"]}},
    "prompt": {"settings": PROMPT},
    "empty prompt": {"settings": {"default_prompt_name": "query"}},
    "length": {"transformer": {"max_seq_length": 6}},
    "length of the tokenizer": {"tokenizer": tokenizer_of(model_max_length=7)},
    "lower case": {
        "transformer": {"do_lower_case": True},
        "tokenizer": tokenizer_of(do_lower_case=False),
    },
    "lower case without accents": {
        "transformer": {"do_lower_case": True},
        "tokenizer": tokenizer_of(do_lower_case=False, strip_accents=True),
    },
    "cased": {"tokenizer": tokenizer_of(do_lower_case=False)},
    "old layout": {"place": "0_Transformer", "transformer": {"max_seq_length": 5}},
    "dense": {"more": [("Dense", {**DENSE, **TANH}), ("Normalize", {})]},
    "relu": {
        "more": [("Dense", {**DENSE, "activation_function": "torch.nn.modules.activation.ReLU"})]
    },
    "gelu": {
        "more": [("Dense", {**DENSE, "activation_function": "torch.nn.modules.activation.GELU"})]
    },
    "identity": {
        "more": [
            ("Dense", {**DENSE, "activation_function": "torch.nn.modules.linear.Identity"}),
        ]
    },
    "residual": {"more": [("Dense", {**DENSE, "use_residual": True, "bias": False})]},
    "square residual": {"more": [("Dense", {**DENSE, "use_residual": True, "out_features": 12})]},
    "cut": {
        "more": [("Normalize", {}), ("Dropout", {"dropout": 0.5})],
        "settings": {"truncate_dim": 4},
    },
    "dense last": {"more": [("Normalize", {}), ("Dense", DENSE)]},
}


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARITY)
def test_the_vectors_are_those_of_sentence_transformers(tmp_path, name):
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, "É the ÉCOLE İstanbul ΣΑΣ", "[MASK] [mask] Cat"]
    folder = folder_of(tmp_path / "written", **PARITY[name])
    peer = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    expected = peer.encode(texts)
    extractor = FeatureExtractor.from_pretrained(folder)
    np.testing.assert_allclose(extractor(texts), expected, atol=1e-5)
    assert extractor.max_length == peer.max_seq_length
    saved = tmp_path / "saved"  # in the format of the installed version
    peer.save_pretrained(str(saved), create_model_card=False)
    if PARITY[name].get("transformer", {}).get("do_lower_case"):
        return  # the installed version writes its own normalizer into tokenizer.json
    np.testing.assert_allclose(FeatureExtractor.from_pretrained(saved)(texts), expected, atol=1e-5)


@pytest.mark.parity
def test_every_character_is_converted_to_lower_case_as_in_sentence_transformers(tmp_path):
    from tokenizers import Tokenizer, normalizers

    folder = folder_of(
        tmp_path,
        transformer={"do_lower_case": True},
        tokenizer=tokenizer_of(do_lower_case=False),
    )
    peer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    steps = normalizers.Sequence([normalizers.Lowercase(), peer.normalizer])
    mine = FeatureExtractor.from_pretrained(folder).tokenizer.normalizer
    points = [chr(i) for i in range(1, 0x110000) if not 0xD800 <= i < 0xE000]
    assert [p for p in points if mine.normalize(p) != steps.normalize_str(p)] == []
