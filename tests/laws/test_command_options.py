"""Every option of the commands that train nothing, and of the tokenizer, changes what it names."""

import dataclasses
import inspect
import json
import shutil

import numpy as np
import pytest

from minibert.cli import COMMANDS
from minibert.tokenization import AddedToken, ByteLevelBPETokenizer, WordPieceTokenizer
from minibert.tokenization.framing import BARE
from minibert.tokenization.normalizer import Normalizer
from tests.laws.commands import SENTENCES, options_of, run

TEXT = "the cat sat on the mat"
# Without options: the words of each command.
BASE = {
    "predict": ["predict", "classifier", TEXT],
    "evaluate": ["evaluate", "classifier", "rows.jsonl"],
    "answer": ["answer", "qa", "lines.txt", "--question", "a dog"],
    "fill-mask": ["fill-mask", "model", "a [MASK]"],
    "embed": ["embed", "body", TEXT],
    "similar": ["similar", "body", TEXT, "lines.txt"],
    "inspect": ["inspect", "classifier", TEXT],
    "tokenize": ["tokenize", "tokenizer", "The [MASK]"],
    "train-tokenizer": ["train-tokenizer", "corpus.txt", "--vocab-size", 66, "--out", "NEW"],
}
LONG = f"{TEXT} " * 9
RERANKED = [*BASE["similar"], "--rerank", "scorer"]
NUMBERS = object()  # other numbers, as many


def lines(count):
    return lambda before, after: len(after.splitlines()) == count


def contains(*parts):
    return lambda before, after: all(part in after and part not in before for part in parts)


def contains_all(*parts):
    return lambda before, after: all(part in after for part in parts)


def width(count):
    return lambda before, after: len(json.loads(after)["vector"]) == count


def unit(before, after):
    return np.linalg.norm(json.loads(after)["vector"]) == pytest.approx(1)


def other(before, after):
    return True


def same(before, after):
    return before == after


# For each option: the words, and what holds for the outputs before and after, which differ.
OPTIONS = {
    "predict": {
        "model": (["predict", "other", TEXT], other),
        "texts": (["predict", "classifier", "a dog", "red"], lines(2)),
        "file": (["predict", "classifier", "--file", "rows.jsonl"], lines(20)),
        "form": ([*BASE["predict"], "--as", "jsonl"], contains('"probabilities"')),
        "text": (["predict", "classifier", "--file", "rows.jsonl", "--text", "content"],
                 contains("was red")),
        "label": (["predict", "classifier", "--file", "rows.jsonl", "--label", "text",
                   "--text", "extra"], contains("it was a")),
        "pair": (["predict", "classifier", "--file", "rows.jsonl", "--pair", "second"], other),
        "top": ([*BASE["predict"], "--top", 2], contains_all("cats", "dogs")),
        "threshold": (["predict", "several", TEXT, "--threshold", 0], contains("cats,dogs")),
        "stride": (["predict", "classifier", LONG, "--as", "jsonl", "--stride", 7], other),
        "truncate": (["predict", "classifier", LONG, "--as", "jsonl", "--truncate"], other),
        "threads": ([*BASE["predict"], "--threads", 1], same),
    },
    "evaluate": {
        "model": (["evaluate", "other", "rows.jsonl"], other),
        "file": (["evaluate", "classifier", "test.jsonl"], other),
        "text": ([*BASE["evaluate"], "--text", "content"], contains("was red")),
        "label": ([*BASE["evaluate"], "--label", "kind"], other),
        "pair": ([*BASE["evaluate"], "--pair", "second"], other),
        "threshold": (["evaluate", "several", "rows.jsonl", "--threshold", 0],
                      contains("recall 100.0%")),
        "stride": (["evaluate", "classifier", "long.jsonl", "--stride", 7], other),
        "truncate": (["evaluate", "classifier", "long.jsonl", "--truncate"],
                     contains("are truncated")),
        "threads": ([*BASE["evaluate"], "--threads", 1], same),
    },
    "answer": {
        "model": (["answer", "qa2", "lines.txt", "--question", "a dog"], other),
        "file": ([*BASE["answer"], "corpus.txt"], contains("corpus.txt")),
        "question": (["answer", "qa", "lines.txt", "--question", "the cat ran"], other),
        "no_answer": ([*BASE["answer"], "--top", 99, "--no-answer"], contains("\t0\t0\tlines")),
        "top": ([*BASE["answer"], "--top", 3], lines(3)),
        "form": ([*BASE["answer"], "--as", "jsonl"], contains('"question": "a dog"')),
        "max_answer_len": ([*BASE["answer"], "--top", 99, "--max-answer-len", 1], lines(18)),
        "max_length": ([*BASE["answer"], "--max-length", 9], other),
        "stride": ([*BASE["answer"], "--top", 99, "--stride", 9], other),
        "threads": ([*BASE["answer"], "--threads", 1], same),
    },
    "fill-mask": {
        "model": (["fill-mask", "another", "a [MASK]"], other),
        "texts": (["fill-mask", "model", "a [MASK]", "[MASK] it"], lines(4)),
        "top": ([*BASE["fill-mask"], "--top", 2], lambda before, after: after.count("%") == 2),
    },
    "embed": {
        "model": (["embed", "other", TEXT], other),
        "texts": (["embed", "body", TEXT, "a"], lines(2)),
        "file": (["embed", "body", "--file", "lines.txt"], lines(3)),
        "normalize": ([*BASE["embed"], "--normalize"], unit),
        "out": ([*BASE["embed"], "--out", "NEW/vectors.npy"], contains("1 vectors of 8")),
        "pooling": ([*BASE["embed"], "--pooling", "cls"], width(8)),
        "layers": ([*BASE["embed"], "--layers", "-1", "0"], width(16)),
        "combine": ([*BASE["embed"], "--layers", "-1", "0", "--combine", "sum"], width(8)),
        "max_length": ([*BASE["embed"], "--max-length", 4], width(8)),
    },
    "similar": {
        "source": (["similar", "other", TEXT, "lines.txt"], other),
        "model": (["similar", "lines.store", TEXT, "--model", "moved"], same),
        "query": (["similar", "body", "a dog", "lines.txt"], other),
        "file": (["similar", "body", TEXT, "lines.txt", "corpus.txt"], lines(5)),
        "top": ([*BASE["similar"], "--top", 2], lines(2)),
        "rerank": ([*BASE["similar"], "--rerank", "scorer"], lines(3)),
        "candidates": ([*RERANKED, "--top", 1, "--candidates", 1], contains(f"\t{TEXT}")),
        "pooling": ([*BASE["similar"], "--pooling", "cls"], lines(3)),
        "layers": ([*BASE["similar"], "--layers", "0"], lines(3)),
        "combine": ([*BASE["similar"], "--layers", "0", "-1", "--combine", "sum"], lines(3)),
        "max_length": ([*BASE["similar"], "--max-length", 4], lines(3)),
    },
    "inspect": {
        "model": (["inspect", "other", TEXT], other),
        "text": (["inspect", "classifier", "a dog"], contains("a dog")),
        "pair": ([*BASE["inspect"], "--pair", "a dog"], contains(f"{TEXT} | a dog")),
        "backward": ([*BASE["inspect"], "--backward"], contains("gradient x input")),
        "label": ([*BASE["inspect"], "--label", "cats"], contains("the score of 'cats'")),
        "html": ([*BASE["inspect"], "--html", "NEW/page.html"], contains("page.html")),
        "values": (["inspect", "small", TEXT, "--values"], contains("backward: head", "d logits")),
    },
    "tokenize": {
        "tokenizer": (["tokenize", "cased", "The [MASK]"], contains("[UNK]")),
        "texts": (["tokenize", "tokenizer", "a", "b"], lines(2)),
        "file": (["tokenize", "tokenizer", "--file", "lines.txt"], lines(3)),
        "form": ([*BASE["tokenize"], "--as", "ids"], contains("2 ")),
        "offsets": ([*BASE["tokenize"], "--offsets"], contains("0-3")),
        "split_special_tokens": ([*BASE["tokenize"], "--split-special-tokens"], contains("##s")),
    },
}  # fmt: skip
# Options that need words of their own, and those that are tested where they are slow.
BEFORE = {("embed", "combine"): [*BASE["embed"], "--layers", "-1", "0"],
          ("similar", "model"): ["similar", "lines.store", TEXT],
          ("similar", "candidates"): [*RERANKED, "--top", 1],
          ("similar", "combine"): [*BASE["similar"], "--layers", "0", "-1"],
          ("predict", "threshold"): ["predict", "several", TEXT],
          ("predict", "stride"): ["predict", "classifier", LONG, "--as", "jsonl"],
          ("predict", "truncate"): ["predict", "classifier", LONG, "--as", "jsonl"],
          ("evaluate", "threshold"): ["evaluate", "several", "rows.jsonl"],
          ("evaluate", "stride"): ["evaluate", "classifier", "long.jsonl"],
          ("evaluate", "truncate"): ["evaluate", "classifier", "long.jsonl"],
          ("answer", "no_answer"): [*BASE["answer"], "--top", 99],
          ("answer", "max_answer_len"): [*BASE["answer"], "--top", 99],
          ("answer", "stride"): [*BASE["answer"], "--top", 99],
          ("predict", "text"): ["predict", "classifier", "--file", "rows.jsonl"],
          ("predict", "label"): ["predict", "classifier", "--file", "rows.jsonl"],
          ("predict", "pair"): ["predict", "classifier", "--file", "rows.jsonl"]}  # fmt: skip
ELSEWHERE = {
    "pretrain", "finetune",  # test_training_options
    "plot", "corpus", "demo", "gradcheck", "exercises", "estimate",  # tests/cli
    "distill", "train-embeddings",
}  # fmt: skip
CASES = [(command, name) for command, table in OPTIONS.items() for name in table]


def test_every_option_has_an_entry():
    assert {*OPTIONS, "train-tokenizer"} | ELSEWHERE == {*COMMANDS}
    for command, table in OPTIONS.items():
        assert {*table} == options_of(command), command


@pytest.fixture(scope="module")
def folder(small_workspace):
    """Return the workspace with more models and texts."""
    from minibert import models as m
    from tests.laws.commands import CONFIG, small_tokenizer

    (small_workspace / "lines.txt").write_text("\n".join(SENTENCES) + "\n")
    rows = [json.loads(row) for row in (small_workspace / "rows.jsonl").read_text().splitlines()]
    long = [json.dumps({**row, "text": f"{row['text']} {LONG}"}) for row in rows]
    (small_workspace / "long.jsonl").write_text("\n".join(long) + "\n")
    several = dataclasses.replace(CONFIG, problem_type="multi_label_classification")
    one = dataclasses.replace(CONFIG, id2label={0: "score"})
    kinds = {
        "other": m.BertForSequenceClassification(CONFIG, seed=9),
        "another": m.BertForMaskedLM(CONFIG, seed=9),
        "several": m.BertForSequenceClassification(several),
        "scorer": m.BertForSequenceClassification(one),
        "qa": m.BertForQuestionAnswering(CONFIG),
        "qa2": m.BertForQuestionAnswering(CONFIG, seed=9),
    }
    for name, model in kinds.items():
        small_tokenizer().save_pretrained(small_workspace / name)
        model.save_pretrained(small_workspace / name)
    small_tokenizer().save_pretrained(small_workspace / "small")
    few = dataclasses.replace(CONFIG, hidden_size=4)
    m.BertForSequenceClassification(few).save_pretrained(small_workspace / "small")
    shutil.copytree(small_workspace / "body", small_workspace / "moved")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(small_workspace)
        assert run("embed", "body", "--file", "lines.txt", "--out", "lines.store") == 0
    return small_workspace


@pytest.fixture(scope="module")
def outputs():
    return {}


@pytest.mark.parametrize(("command", "name"), CASES)
def test_each_option_changes_the_output(
    command, name, folder, outputs, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(folder)

    def printed(words):
        words = [str(word).replace("NEW", str(tmp_path)) for word in words]
        key = " ".join(words)
        if key not in outputs:
            capsys.readouterr()
            assert run(*words) == 0
            outputs[key] = capsys.readouterr().out
        return outputs[key]

    words, holds = OPTIONS[command][name]
    before, after = printed(BEFORE.get((command, name), BASE[command])), printed(words)
    assert holds(before, after)
    assert (before == after) == (holds is same)


# The tokenizer.

OPTIONS_OF_TOKENIZER = {  # a changed value, a text, and its tokens before and after
    "do_lower_case": (False, "The cat", ["the", "cat"], ["[UNK]", "cat"]),
    "strip_accents": (False, "thé", ["the"], ["[UNK]"]),
    "tokenize_chinese_chars": (False, "猫cat", ["[UNK]", "cat"], ["[UNK]"]),
    "clean_text": (False, "ca\u200bt", ["cat"], ["[UNK]"]),
    "continuing_subword_prefix": ("@@", "cats", ["cat", "##s"], ["[UNK]"]),
    "template": (BARE, "the cat the", ["the", "cat", "the"], ["cat"]),
    "max_input_chars_per_word": (3, "cats", ["cat", "##s"], ["[UNK]"]),
    "unk_token": ("the", "zzz", ["[UNK]"], ["the"]),
    "sep_token": ("the", "", ["[CLS]", "[SEP]"], ["[CLS]", "the"]),
    "cls_token": ("the", "", ["[CLS]", "[SEP]"], ["the", "[SEP]"]),
    "pad_token": ("the", None, 0, 5),
    "mask_token": ("the", None, 4, 5),
    "added_tokens": (["big cat"], "big cat", ["[UNK]", "cat"], ["big cat"]),
    "model_max_length": (7, None, None, 7),
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]


@pytest.mark.parametrize("name", OPTIONS_OF_TOKENIZER)
def test_each_option_of_the_tokenizer_changes_its_tokens_and_is_saved(name, tmp_path):
    arguments = set(inspect.signature(WordPieceTokenizer.__init__).parameters)
    assert {*OPTIONS_OF_TOKENIZER} == arguments - {"self", "vocabulary"}
    value, text, before, after = OPTIONS_OF_TOKENIZER[name]
    plain, changed = WordPieceTokenizer(PIECES), WordPieceTokenizer(PIECES, **{name: value})
    changed.save_pretrained(tmp_path)
    again = WordPieceTokenizer.from_pretrained(tmp_path)

    def seen(tokenizer):
        if name == "model_max_length":
            return tokenizer.model_max_length
        if text is None:
            return getattr(tokenizer, f"{name}_id")
        tokens = tokenizer.encode(text).tokens
        return tokens[1:-1] if text else tokens

    assert seen(plain) == before
    assert seen(changed) == after
    if name != "continuing_subword_prefix":  # not part of a vocabulary's files of BERT
        assert seen(again) == after


TRAINING = {  # a changed value of each option of train, and what holds for the pieces after it
    "score": ("likelihood", lambda before, after: before != after),
    "min_frequency": (5, lambda before, after: len(after) < len(before)),
    "limit_alphabet": (6, lambda before, after: "z" in before and "z" not in after),
    "initial_alphabet": ("ß", lambda before, after: "ß" in after and "ß" not in before),
    "special_tokens": (["[ONE]"], lambda before, after: after[5] == "[ONE]"),
}


def test_each_option_of_training_a_tokenizer_changes_the_pieces():
    arguments = set(inspect.signature(WordPieceTokenizer.train).parameters)
    others = {"texts", "vocab_size", "exact", "progress", "options"}
    assert {*TRAINING} | others == arguments
    texts = ["the cat sat", "the cats scatter", "zoo at the cat", "catty"] * 3 + ["scat"]

    def pieces(size=60, **options):
        return list(WordPieceTokenizer.train(texts, size, **{"exact": False, **options}).vocab)

    plain = pieces()
    for name, (value, holds) in TRAINING.items():
        assert holds(plain, pieces(**{name: value})), name
    assert len(pieces(30)) == 30
    with pytest.raises(ValueError, match="vocab_size: expected at most"):
        pieces(600, exact=True)


def test_each_option_of_training_a_tokenizer_arrives_from_the_command(folder, tmp_path, monkeypatch,
                                                                      capsys):  # fmt: skip
    seen, texts = {}, []

    def train(paragraphs, size, *, progress, **options):
        texts[:] = list(paragraphs)
        seen.update(options, vocab_size=size)
        raise ValueError("seen")

    monkeypatch.setattr(WordPieceTokenizer, "train", train)
    monkeypatch.chdir(folder)
    values = {
        "vocab_size": 77, "min_frequency": 7, "score": "likelihood", "limit_alphabet": 27,
        "initial_alphabet": "xyz", "special_tokens": ["[A]", "[B]"],
    }  # fmt: skip
    others = {"files", "out", "cased", "type", "add_prefix_space"}
    assert {*values, *others} == options_of("train-tokenizer")

    def options_with(*words):
        run("train-tokenizer", "corpus.txt", "--out", tmp_path / "new", *words)
        return dict(seen)

    before = options_with()
    for name, value in values.items():
        words = value if isinstance(value, list) else [value]
        after = options_with(f"--{name.replace('_', '-')}", *words)
        assert after == {**before, name: value} != before
    assert options_with("--cased") == {**before, "do_lower_case": False}
    monkeypatch.setattr(ByteLevelBPETokenizer, "train", train)
    seen.clear()
    bpe = options_with("--type", "bpe")
    names = {"vocab_size", "min_frequency", "special_tokens"}
    assert {*bpe} == {*names, "add_prefix_space"}
    for name in names:
        words = values[name] if isinstance(values[name], list) else [values[name]]
        after = options_with("--type", "bpe", f"--{name.replace('_', '-')}", *words)
        assert after == {**bpe, name: values[name]} != bpe
    after = options_with("--type", "bpe", "--add-prefix-space")
    assert after == {**bpe, "add_prefix_space": True} != bpe
    count = len(texts)
    run("train-tokenizer", "corpus.txt", "other.txt", "--out", tmp_path / "new")
    assert len(texts) > count


def test_each_field_of_added_token_changes_the_tokens():
    cases = {
        "content": ("[Z]", "a [Z]", ["[UNK]", "[Z]"]),
        "single_word": (True, "cat[X]", ["cat", "[UNK]", "[UNK]", "[UNK]"]),
        "lstrip": (True, "cat  [X]", (3, 8)),
        "rstrip": (True, "[X]  cat", (0, 5)),
        "normalized": (False, "[x]", ["[UNK]", "[UNK]", "[UNK]"]),
        "special": (True, "[X]", []),
    }
    assert {*cases} == set(AddedToken.__dataclass_fields__)
    for name, (value, text, expected) in cases.items():
        seen = []
        for token in (AddedToken("[X]"), AddedToken(**{"content": "[X]", name: value})):
            tokenizer = WordPieceTokenizer(PIECES, added_tokens=[token])
            encoding = tokenizer.encode(text)
            if name == "special":
                ids = encoding.input_ids[1:-1]
                seen.append(tokenizer.decode(ids, skip_special_tokens=True).split())
            elif isinstance(expected, tuple):
                place = encoding.tokens.index("[X]")
                seen.append(encoding.offsets[place])
            else:
                seen.append(encoding.tokens[1:-1])
        assert seen[1] == expected != seen[0], name
    assert set(inspect.signature(Normalizer).parameters) <= {*OPTIONS_OF_TOKENIZER}
