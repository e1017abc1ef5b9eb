"""Commands, estimators and feature extraction open models of every family."""

import json

import numpy as np
import pytest

import minibert as m
from minibert.models.table import family_class
from minibert.training.checkpoint import read_state
from tests.cli.helpers import TEXTS, assert_refused, run
from tests.conftest import small_tokenizer
from tests.models.relatives import OF_FAMILY

FAMILIES = ["distilbert", "roberta", "electra", "mpnet", "albert", "deberta-v2", "modernbert"]
SIZES = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 16,
    "max_position_embeddings": 18,
}
OWN = {**OF_FAMILY, "modernbert": {"num_attention_heads": 2, "pad_token_id": 0,
                                   "local_attention": 2}}  # fmt: skip
ROWS = [("the cat sat", "pet"), ("a dog ran", "pet"), ("a red tree", "plant"),
        ("the big tree", "plant")]  # fmt: skip


def tokenizer_of(family):
    """Return a WordPiece tokenizer whose padding has the family's id."""
    first, second, *rest = small_tokenizer().convert_ids_to_tokens(range(len(small_tokenizer())))
    default = family_class(family, "Config")().pad_token_id
    pad = OWN.get(family, {}).get("pad_token_id", default)
    return m.WordPieceTokenizer([second, first, *rest] if pad else [first, second, *rest])


def saved(folder, family, use, **changes):
    """Save a new model of a family with its tokenizer; return the folder."""
    tokenizer = tokenizer_of(family)
    sizes = {**SIZES, **OWN.get(family, {}), "vocab_size": len(tokenizer), **changes}
    tokenizer.save_pretrained(folder)
    family_class(family, use)(family_class(family, "Config")(**sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "family",
    [pytest.param(each, marks=[pytest.mark.slow] * (each != "roberta")) for each in FAMILIES],
)
def test_commands_of_texts_open_a_fine_tuned_model(family, tmp_path, capsys):
    start = saved(tmp_path / "start", family, "ForMaskedLM")
    assert run(["fill-mask", start, "the [MASK] sat", "--top", 2]) == 0
    assert capsys.readouterr().out.splitlines()[1].count("%") == 2
    assert run(["inspect", start, "the [MASK] sat", "--backward"]) == 0
    is_without = family in ("modernbert", "deberta-v2")  # a table of positions
    shown = "word embedding" if is_without else "position embedding"
    assert shown in capsys.readouterr().out
    table, out = tmp_path / "rows.tsv", tmp_path / "out"
    table.write_text("text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in ROWS * 3))
    options = ["--model", start, "--dev", table, "--epochs", 1, "--freeze", 1]
    assert run(["finetune", table, "--out", out, *options]) == 0
    stated = json.loads((out / "config.json").read_text())
    assert stated["model_type"] == family
    longest = m.AutoConfig.from_pretrained(out).longest
    assert longest == (16 if family in ("roberta", "mpnet") else 18)
    card = (out / "README.md").read_text()
    assert f"- {family}\n" in card
    assert f"at most {longest} of them in a text" in card
    capsys.readouterr()
    assert run(["predict", out, *TEXTS]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(TEXTS)
    assert run(["evaluate", out, table]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert run(["inspect", out, TEXTS[0], "--backward"]) == 0
    assert run(["embed", out, TEXTS[0]]) == 0
    assert_refused(capsys, ["inspect", out, "a cat", "--values"], "values: expected at most 400")


def test_continued_pretraining_of_a_model_with_byte_level_bpe(tmp_path, capsys):
    """Its card shows the mask of its tokenizer, and fill-mask prints text instead of bytes."""
    start, text, out = tmp_path / "start", tmp_path / "text.txt", tmp_path / "out"
    tokenizer = m.ByteLevelBPETokenizer.train(TEXTS * 3, 280)
    tokenizer.save_pretrained(start)
    config = m.RobertaConfig(**{**SIZES, "vocab_size": len(tokenizer)})
    model = m.RobertaForMaskedLM(config)
    model.params["cls.predictions.bias"][tokenizer.vocab["Ġthe"]] = 30
    model.params["cls.predictions.bias"][tokenizer.vocab["the"]] = 29
    model.save_pretrained(start)
    text.write_text("\n\n".join(TEXTS * 20))
    words = ["pretrain", text, "--model", start, "--whole-words", "--steps", 2, "--batch-size", 4]
    assert run([*words, "--out", out]) == 0
    card = (out / "README.md").read_text()
    assert "minibert fill-mask out 'A <mask> of words.'" in card
    assert "from minibert import AutoTokenizer, RobertaForMaskedLM" in card
    assert read_state(out)["settings"]["whole_words"]
    capsys.readouterr()
    assert run(["fill-mask", out, "the cat sat on<mask>", "--top", 2]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("  the ")
    assert ", ##the " in line


@pytest.mark.parametrize("family", FAMILIES)
def test_estimators_begin_with_a_model_of_any_family(family, tmp_path):
    start = saved(tmp_path / "start", family, "Model")
    texts, labels = zip(*ROWS, strict=True)
    classifier = m.TextClassifier(model=str(start), epochs=1, max_length=10)
    assert classifier.fit(texts, labels).predict(texts).shape == (4,)
    kind = family_class(family, "ForSequenceClassification")
    assert type(classifier.model_) is kind
    assert classifier.model_.config.longest == 10
    tagger = m.TokenTagger(model=str(start), epochs=1, max_length=10)
    words = [text.split() for text in texts]
    found = tagger.fit(words, [["X"] * (len(each) - 1) + ["Y"] for each in words]).predict(words)
    assert [len(tags) for tags in found] == [len(each) for each in words]


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_do_not_depend_on_other_texts(family, tmp_path):
    folder = saved(tmp_path, family, "Model")
    extract = m.FeatureExtractor.from_pretrained(folder)
    vectors = extract(TEXTS, threads=2)
    assert vectors.shape == (3, 12)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(extract([text])[0], vector, rtol=1e-4, atol=1e-5)
    model = m.AutoModel.from_pretrained(folder)
    if model.pooler is None:
        with pytest.raises(ValueError, match="pooling: expected a model with a pooler"):
            m.FeatureExtractor.from_pretrained(folder, pooling="pooler")
    else:
        pooled = m.FeatureExtractor.from_pretrained(folder, pooling="pooler")(TEXTS[:1])
        ids = tokenizer_of(family).encode(TEXTS[0]).input_ids
        np.testing.assert_allclose(pooled, model([ids]).pooler_output, rtol=1e-4, atol=1e-5)


def test_a_head_that_a_family_lacks_is_named_in_one_line(tmp_path, capsys):
    start, text = saved(tmp_path / "start", "modernbert", "ForMaskedLM"), tmp_path / "text.txt"
    text.write_text("\n\n".join(TEXTS * 20))
    arguments = ["pretrain", text, "--model", start, "--next-sentence", "--out", tmp_path / "out"]
    assert_refused(capsys, arguments, "modernbert has no ModernBertForPreTraining")


def test_the_discriminator_has_no_prediction_to_inspect(tmp_path, capsys):
    folder = saved(tmp_path, "electra", "ForPreTraining")
    assert_refused(capsys, ["inspect", folder, "a cat"], "expected a classifier or a tagger")
    assert_refused(capsys, ["predict", folder, "a cat"], "expected a model that labels texts")


def test_a_discriminator_neither_fills_masks_nor_is_trained_to(tmp_path, capsys):
    folder, text = saved(tmp_path / "start", "electra", "ForPreTraining"), tmp_path / "text.txt"
    text.write_text("\n\n".join(TEXTS * 20))
    line = f"minibert: {folder}: expected a model that predicts tokens, got a discriminator"
    for _ in range(2):
        for arguments in (
            ["fill-mask", folder, "the [MASK] sat"],
            ["pretrain", text, "--model", folder, "--out", tmp_path / "out"],
        ):
            assert_refused(capsys, arguments, f"{line}\n")
        saved(folder / "generator", "electra", "ForMaskedLM")
        line += f"; its generator is in {folder / 'generator'}"
    assert run(["fill-mask", folder / "generator", "the [MASK] sat"]) == 0
    assert not (tmp_path / "out").exists()
