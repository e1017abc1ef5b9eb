"""The same ids as Hugging Face's tokenizer for the same folder."""

import pytest

from minibert.tokenization import WordPieceTokenizer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TEXTS = [
    "The cat sat on the mat, then ran!",
    "  white\tspace\n\nof every\u00a0kind \u2003",
    "Élan naïve Ångström İstanbul ΣΊΣΥΦΟΣ straße",
    "你好 world 狗dog",
    "don't stop—it's $5.00 + 3% ^_^ `code` ~ <a@b.c>",
    "[MASK] the [SEP] cat [PAD] [mask] [CLS][UNK]",
    "zero\u200bwidth soft\u00adhyphen bell\x07 nul\x00 bom\ufeff \ufffd",
    "a" * 120 + " dog",
    "🐈 🐕 cat🐈dog",
    "e\u0301 combining A\u030a",
    "",
]
PAIRS = ["a dog", "", "red tree", "x", "then it was", "cat", "dog", "mat", "!", ".", "the"]


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def both(request, tokenizer, tmp_path):
    from transformers import AutoTokenizer

    mine = WordPieceTokenizer(list(tokenizer.vocab), do_lower_case=request.param)
    mine.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    return mine, AutoTokenizer.from_pretrained(tmp_path)


def test_single_texts(both):
    mine, theirs = both
    for text in TEXTS:
        assert mine.encode(text).input_ids == theirs(text)["input_ids"], text


@pytest.mark.parametrize("longest", [5, 8, 13, 200])
def test_pairs_cut_to_a_length(both, longest):
    mine, theirs = both
    batch = mine.encode_batch(TEXTS, PAIRS, max_length=longest)
    reference = theirs(TEXTS, PAIRS, max_length=longest, truncation="longest_first", padding=True)
    for name, array in batch.items():
        assert array.tolist() == reference[name], name
