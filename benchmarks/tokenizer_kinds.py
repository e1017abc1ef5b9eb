"""Tokenizers of the relatives of BERT, with vocabularies learned here: for `benchmarks.tokenizer`.

minibert learns the byte pairs; `tokenizers` learns the Unigram pieces, which minibert only reads.
The normalizer table of XLM-RoBERTa and ALBERT is that of SentencePiece, from its package.
"""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, models, trainers

from benchmarks.texts import FOLDER
from minibert import ByteLevelBPETokenizer, UnigramTokenizer

PIECES = 8_000
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = {"type": "WhitespaceSplit"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
NFKC = {"type": "NFKC"}
# ALBERT's steps before the table, and after it.
ALBERT = [
    {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
    {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
    {"type": "NFKD"},
    {"type": "StripAccents"},
    {"type": "Lowercase"},
]
RUNS = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


class Kind(NamedTuple):
    """A kind of tokenizer on both sides.

    Attributes:
        name: of the model or its steps, for the table.
        make: returns minibert's tokenizer, with empty caches.
        theirs: that of `tokenizers`, which reads the same files.
    """

    name: str
    make: Callable[[], Any]
    theirs: Tokenizer


def kinds(texts: Sequence[str]) -> Iterator[Kind]:
    """Yield the kinds, with vocabularies learned from texts."""
    pairs = ByteLevelBPETokenizer.train(texts, PIECES)
    for name, normalizer in (("byte-level BPE", None), ("byte-level BPE with NFKC", NFKC)):
        tokenizer = ByteLevelBPETokenizer(pairs.vocabulary, pairs.merges, normalizer=normalizer)
        tokenizer.save_pretrained(FOLDER / name)
        yield kind(name, ByteLevelBPETokenizer)
    scores = learn_scores(texts)
    for name, steps in normalizers().items():
        UnigramTokenizer(
            scores, normalizer={"type": "Sequence", "normalizers": steps}
        ).save_pretrained(FOLDER / name)
        yield kind(name, UnigramTokenizer)


def kind(name: str, cls: type) -> Kind:
    """Return the kind whose files are in the folder with its name."""
    theirs = Tokenizer.from_file(str(FOLDER / name / "tokenizer.json"))
    return Kind(name, lambda: cls.from_pretrained(FOLDER / name), theirs)


def normalizers() -> dict[str, list[dict[str, Any]]]:
    """Return the steps of the normalizer of each kind of Unigram tokenizer, by its name.

    Those with SentencePiece's table are left out if its package is not installed.
    """
    steps = {"Unigram with NFKC": [NFKC]}
    spec = find_spec("sentencepiece")
    if spec is not None:
        data = Path(spec.submodule_search_locations[0]) / "package_data" / "nmt_nfkc.bin"
        charsmap = base64.b64encode(data.read_bytes()).decode()
        table = {"type": "Precompiled", "precompiled_charsmap": charsmap}
        steps["Unigram as in XLM-RoBERTa"] = [table]
        steps["Unigram as in ALBERT"] = [*ALBERT, table, RUNS]
    return steps


def learn_scores(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return the pieces that `tokenizers` learns for a Unigram model, and their scores."""
    peer = Tokenizer(models.Unigram())
    whole = json.loads(peer.to_str())
    whole["normalizer"] = NFKC
    whole["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [WORDS, METASPACE]}
    peer = Tokenizer.from_str(json.dumps(whole))
    trainer = trainers.UnigramTrainer(
        vocab_size=PIECES, unk_token="<unk>", special_tokens=SPECIAL, show_progress=False
    )
    peer.train_from_iterator(texts, trainer)
    return [(piece, score) for piece, score in json.loads(peer.to_str())["model"]["vocab"]]
