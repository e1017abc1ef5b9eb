"""A vocabulary with new words: transformers opens the folder, and makes the same ids and logits."""

import json

import numpy as np
import pytest

from minibert import BertForMaskedLM, WordPieceTokenizer
from minibert.tokenization import AddedToken
from minibert.tokenization.widening import read_new_words
from minibert.training.continuing import widen
from tests.cli.helpers import write_lines

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TEXTS = [
    "The plumber's chimneys, and a quokka's quokkas!",
    "Plumbers PLUMBER plumberplumber un-plumber quok ##kas [MASK] quokka [SEP]",
    "<new> quokka<new>chimney two words chimney two  words",
    "",
    "zzz \u00e9quokka Qu\u00f6kka \u4e2dquokka\u6587",
]


@pytest.mark.parametrize("added", [[], ["<new>", AddedToken("two words", normalized=False)]])
def test_transformers_reads_new_words_as_minibert_does(tmp_path, added):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    tokenizer = WordPieceTokenizer.from_pretrained("tiny")
    tokenizer.add_tokens(added)
    model = BertForMaskedLM.from_pretrained("tiny")
    if added:
        model.resize_token_embeddings(len(tokenizer))
    path = write_lines(tmp_path / "words.txt", "plumber", "chimney", "quokka")
    wide = widen(model, tokenizer, read_new_words(path, tokenizer))
    wide.save_pretrained(tmp_path / "out")
    model.save_pretrained(tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(theirs) == len(wide) == len(tokenizer) + 3
    assert theirs.get_vocab() == dict(wide.vocab)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == wide.encode(text).input_ids, text
    peer = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    batch = wide.encode_batch(TEXTS)
    with torch.no_grad():
        tensors = {name: torch.tensor(array) for name, array in batch.items()}
        expected = peer(**tensors).logits.numpy()
    np.testing.assert_allclose(model(**batch).logits, expected, atol=1e-4)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == len(wide)
