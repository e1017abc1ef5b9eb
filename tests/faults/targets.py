"""The targets of fuzzing: an untrusted file, and the code that reads it.

A reader may refuse a file by a ValueError or an OSError, in one line that names the file or its
folder. Everything else is a bug: another exception, a warning, memory that the file's size doesn't
explain, and code that is run.
"""

import gzip
import json
import logging
import os
import pickle
import shutil
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    FeatureExtractor,
)
from minibert.cli.resume import resumed_model
from minibert.data.tables import stream_records, write_tsv
from minibert.data.token_cache import files_checksum, tokenize_corpus
from minibert.inference.store_state import StoredFile, StoreState
from minibert.inference.vector_store import VectorStore
from minibert.tokenization import (
    AddedToken,
    AutoTokenizer,
    ByteLevelBPETokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
)
from minibert.training import AdamW, Settings
from minibert.training.checkpoint import restore_optimizer, save_checkpoint
from minibert.training.early_stopping import BestCheckpoint
from minibert.training.history import History
from tests.tokenization.spm_files import build_charsmap, precompiled, spm_model

TEXT = "the cat sat, É [MASK] New  York"
CORPUS = "the cat sat\n\nnew york, the cat\n\n" * 20
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat ##s new york , e".split()
CONFIG = BertConfig(
    vocab_size=16,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=12,
)
SETTINGS = Settings(steps=4, batch_size=4)
SIZES = 180, 0  # tokens of the corpus: training, held out
# A reader may allocate this number of bytes, and this number per byte of the file.
MEMORY, TIMES = 64 << 20, 40


@dataclass(frozen=True)
class Target:
    """A file that is fuzzed.

    Attributes:
        seed: writes a valid folder.
        file: the file in it.
        read: reads the folder and uses the result.
    """

    seed: Callable[[Path], object]
    file: str
    read: Callable[[Path], object]

    def valid(self, folder: Path) -> bytes:
        """Write a valid folder and return the content of the file (bytes)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.seed(folder)
        return (folder / self.file).read_bytes()

    def feed(self, folder: Path, content: bytes) -> Exception | None:
        """Write the file's content and read it; return the documented error, if any.

        Raises:
            AssertionError: the error is not a documented one, or the reader used too much memory.
        """
        (folder / self.file).write_bytes(content)
        refusal = None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tracemalloc.start()
            try:
                self.read(folder)
            except (ValueError, OSError) as error:
                refusal = error
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
        assert peak < MEMORY + TIMES * len(content), f"{peak:,} bytes for {len(content):,}"
        if refusal is not None:
            message = str(refusal)
            assert not isinstance(refusal, UnicodeError), (
                f"not an error of the project: {message[:200]}"
            )
            assert message.isprintable(), f"not one printable line: {message[:200]!r}"
            assert str(folder) in message, f"does not name the file: {message[:200]!r}"
        return refusal


def tokenizer() -> WordPieceTokenizer:
    """Return a tokenizer with tokens added."""
    added = [AddedToken("New York"), AddedToken("<x>", normalized=False, special=True, lstrip=True)]
    return WordPieceTokenizer(PIECES, added_tokens=added, model_max_length=12)


def seed_tokenizer(folder: Path, *kept: str) -> None:
    """Write a tokenizer with the files of older ones; only the files in `kept` remain."""
    tokenizer().save_pretrained(folder)
    old = {"pad_token": "[PAD]", "mask_token": {"content": "[MASK]", "lstrip": True, "id": 4}}
    special = {**old, "additional_special_tokens": ["<y>", {"content": "<z>", "rstrip": True}]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "added_tokens.json").write_text('{"<y>": 13, "<z>": 14}')
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {
        "4": {"content": "[MASK]", "special": True, "normalized": False}
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    for path in folder.iterdir():
        if kept and path.name not in kept:
            path.unlink()


def only(*kept: str) -> Callable[[Path], None]:
    """Return a seed that writes only these files of a tokenizer."""
    return lambda folder: seed_tokenizer(folder, *kept)


def read_tokenizer(folder: Path) -> None:
    """Load a tokenizer, use it, and check that it is saved and loaded unchanged."""
    found = WordPieceTokenizer.from_pretrained(folder)
    encoding = found.encode(TEXT, "sat", max_length=12)
    found.decode(encoding.input_ids)
    again = folder / "again"
    try:
        found.save_pretrained(again)
        back = WordPieceTokenizer.from_pretrained(again)
    finally:
        shutil.rmtree(again, ignore_errors=True)
    assert back.encode(TEXT, "sat", max_length=12) == encoding
    assert dict(back.vocab) == dict(found.vocab)


def seed_byte_level(*kept: str) -> Callable[[Path], None]:
    """Return a seed that writes only these files of a byte-level BPE tokenizer."""

    def seed(folder: Path) -> None:
        texts = ["the cat sat on the mat", "the cats"]
        found = ByteLevelBPETokenizer.train(texts, 270, special_tokens=["<x>"], exact=False)
        found.add_tokens([AddedToken("sat", lstrip=True)])
        found.save_pretrained(folder)
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()

    return seed


def read_byte_level(folder: Path) -> None:
    """Load a byte-level BPE tokenizer, use it, and check that it is saved and loaded unchanged."""
    found = ByteLevelBPETokenizer.from_pretrained(folder)
    encoding = found.encode(TEXT, "sat", max_length=12)
    found.decode(encoding.input_ids)
    again = folder / "again"
    try:
        found.save_pretrained(again)
        back = AutoTokenizer.from_pretrained(again)
    finally:
        shutil.rmtree(again, ignore_errors=True)
    assert back.encode(TEXT, "sat", max_length=12) == encoding
    assert dict(back.vocab) == dict(found.vocab)


def seed_model(folder: Path) -> None:
    """Write a model."""
    BertModel(CONFIG).save_pretrained(folder)


def seed_shards(folder: Path) -> None:
    """Write a model in two files and their index."""
    seed_model(folder)
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(arrays)
    weight_map = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(names)}
    for part in set(weight_map.values()):
        chosen = {name: arrays[name] for name in names if weight_map[name] == part}
        save_file(chosen, folder / part)
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index)


def seed_sinusoidal(folder: Path) -> None:
    """Write a model with sinusoidal positions, which are compared with those in the file."""
    config = BertConfig.from_dict({**CONFIG.to_dict(), "position_embedding_type": "sinusoidal"})
    BertForMaskedLM(config).save_pretrained(folder)


def read_model(folder: Path, kind=BertModel) -> None:
    """Load a model and run it; NaN in the weights is allowed."""
    model = kind.from_pretrained(folder)
    ids = np.array([[1, 2, 0]]) % model.config.vocab_size
    with np.errstate(all="ignore"):
        model(ids[:, : model.config.max_position_embeddings])
    model.config.to_json()


def seed_wide(folder: Path, dtype: type) -> None:
    """Write a model whose weights have another dtype."""
    BertModel(CONFIG).save_pretrained(folder)
    arrays = load_file(folder / "model.safetensors")
    wide = {name: array.astype(dtype) for name, array in arrays.items()}
    save_file(wide, folder / "model.safetensors")


def seed_labels(folder: Path) -> None:
    """Write a model with a number of classes but without their names."""
    BertModel(CONFIG).save_pretrained(folder)
    fields = {**CONFIG.to_dict(), "num_labels": 3}
    del fields["id2label"], fields["label2id"]
    (folder / "config.json").write_text(json.dumps(fields))


def read_labels(folder: Path) -> None:
    """Load a classifier, which is newly initialized."""
    logging.getLogger("minibert").setLevel(logging.ERROR)
    read_model(folder, BertForSequenceClassification)


def seed_sentences(folder: Path) -> None:
    """Write a model as sentence-transformers does."""
    seed_model(folder)
    tokenizer().save_pretrained(folder)
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 10}')
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"pooling_mode": ["mean", "weightedmean"], "include_prompt": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "2_Dense").mkdir(exist_ok=True)
    dense = {"in_features": 16, "out_features": 3, "activation_function": "torch.nn.Identity"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    arrays = {"linear.weight": np.ones((3, 16), np.float32), "linear.bias": np.ones(3, np.float32)}
    save_file(arrays, folder / "2_Dense" / "model.safetensors")
    settings = {"prompts": {"q": "the cat: "}, "default_prompt_name": "q", "truncate_dim": 2}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))


def seed_former_sentences(folder: Path) -> None:
    """Write a model as sentence-transformers did before version 5.4."""
    seed_sentences(folder)
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "2_Dense" / "config.json").write_text('{"in_features": 8, "out_features": 2}')
    arrays = {"linear.weight": np.ones((2, 8), np.float32), "linear.bias": np.ones(2, np.float32)}
    save_file(arrays, folder / "2_Dense" / "model.safetensors")
    config = {"max_seq_length": None, "do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(config))


def read_sentences(folder: Path) -> None:
    """Turn a text into a vector; NaN in the weights is allowed."""
    extractor = FeatureExtractor.from_pretrained(folder)
    with suppress(FloatingPointError):
        extractor([TEXT], threads=1)


class Loud:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        """Create a folder when this is unpickled."""
        return os.mkdir, ("opened",)


def seed_pickle(folder: Path) -> None:
    """Write pickled weights, as older versions of PyTorch do."""
    seed_model(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": [Loud()]}))


def read_pickle(folder: Path) -> None:
    """Check that pickled weights are never opened."""
    before = set(Path().iterdir())
    with pytest.raises(FileNotFoundError, match="opening a pickle runs the code in it"):
        BertModel.from_pretrained(folder)
    assert set(Path().iterdir()) == before


def seed_table(name: str) -> Callable[[Path], None]:
    """Return a seed that writes a table with this file name."""
    rows = [["cats", 'the "cat", sat', "3"], ["dogs", "é \u2028 dog", ""], ["c", '"q"', "x"]]
    header = ["label", "text", "other"]

    def seed(folder: Path) -> None:
        if name.endswith(".tsv"):
            write_tsv(folder / name, header, rows)
        elif name.endswith(".csv"):
            lines = [",".join(f'"{f.replace(chr(34), chr(34) * 2)}"' for f in row) for row in rows]
            (folder / name).write_text("label,text,other\n" + "\n".join(lines) + "\n", "utf-8")
        elif name.endswith(".jsonl"):
            labels = [["a", "b"], 0.5, True]
            lines = [
                json.dumps({"text": row[1], "label": label, "other": row[2]})
                for row, label in zip(rows, labels, strict=True)
            ]
            (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
        else:
            text = "-DOCSTART- -X- O\n\nEU B-ORG O\nrejects O O\n\nÉl x B-PER\n"
            (folder / name).write_text(text, "utf-8")

    return seed


WORDS = '{"words": ["a", "b"], "tags": ["O", "B-X"]}\n'
# A file of each kind that `seed_table` does not write.
TABLES = {
    "semicolons.csv": '\ufefftext;label\n"one; ""two""\nthree"; a \n four , five;b\n',
    "bars.tsv": 'label|text\na|one\nb| "two| three" \n',
    "indicators.csv": "id,text,mild,bad\n7,one,0,1\n8,two,1,0.0\n",
    "indicators.jsonl": '{"text": "a", "x": 1, "y": false}\n{"text": "b", "x": 0, "y": true}\n',
    "words.jsonl": WORDS + '{"words": ["c"], "tags": ["O"]}\n',
    "column.csv": 'text\n"a, b"\n\n""\n',
    "lines.txt": "one\n\ntwo\tthree\r\n",
    "comments.conll": "# id 1\tx\nKiri _ B-PER\n\u00a0 _ O\n\n#a\t_\tO\n\n# b\n",
}


def read_table(name: str) -> Callable[[Path], None]:
    """Return a reader of the table with this file name, without labels and with labels."""
    has_labels = name not in ("column.csv", "lines.txt")

    def read(folder: Path) -> None:
        count = sum(1 for _ in stream_records(folder / name))
        for row in stream_records(folder / name, labelled=True) if has_labels else ():
            # The record can be encoded and has a label, or a tag for each word.
            repr(row).encode("utf-8", "surrogateescape")
            assert row.label is not None
            assert isinstance(row.text, str) or len(row.label) == len(row.text)
            count -= 1
        assert count == 0 or not has_labels  # no record disappears

    return read


def seed_other_table(name: str, folder: Path) -> None:
    """Write the table with this file name, in `TABLES`."""
    (folder / name).write_text(TABLES[name], "utf-8")


def seed_text(folder: Path) -> None:
    """Write a corpus as text and compressed."""
    (folder / "corpus.txt").write_text(CORPUS, "utf-8")
    (folder / "corpus.txt.gz").write_bytes(gzip.compress(CORPUS.encode(), mtime=0))


def tokens_of(folder: Path, name: str) -> tuple[int, int]:
    """Tokenize a corpus or map its cached tokens; return the numbers of tokens per side."""
    found = tokenize_corpus([folder / name], tokenizer(), held_out=0.3, folder=folder / "tokens")
    for side in found.train, found.held_out:
        assert (np.bincount(side.stream, minlength=len(side.counts)) == side.counts).all()
        assert len(side.stream) == (side.ends[-1] if len(side.ends) else 0)
    return len(found.train.stream), len(found.held_out.stream)


def read_text(folder: Path, name: str) -> None:
    """Tokenize a corpus without cached tokens."""
    try:
        tokens_of(folder, name)
    finally:
        shutil.rmtree(folder / "tokens", ignore_errors=True)


def seed_tokens(folder: Path) -> None:
    """Write a corpus and its tokens, with a link of a fixed name to them."""
    shutil.rmtree(folder / "tokens", ignore_errors=True)
    seed_text(folder)
    tokens_of(folder, "corpus.txt")
    (home,) = (folder / "tokens").iterdir()
    link = folder / "kept"
    link.unlink(missing_ok=True)
    link.symlink_to(home, target_is_directory=True)


def read_tokens(folder: Path) -> None:
    """Map cached tokens; damaged ones are written again."""
    logging.getLogger("minibert").setLevel(logging.ERROR)
    assert tokens_of(folder, "corpus.txt") == SIZES


def seed_run(folder: Path) -> None:
    """Write a run with a checkpoint."""
    model = BertForMaskedLM(CONFIG)
    optimizer = AdamW(model.params)
    optimizer.first[:], optimizer.second[:] = 0.5, 0.25
    optimizer.step = 2
    shutil.rmtree(folder / "checkpoint-2", ignore_errors=True)
    save_checkpoint(folder, model, tokenizer(), optimizer, SETTINGS)
    history = History(folder)
    history.write(1, loss=2.0, norm=1.0, rate=1e-3, tokens_per_second=9)
    history.write(2, loss=1.5, norm=1.0, rate=1e-3, tokens_per_second=9)
    history.write(2, held_out_loss=1.6, held_out_score=0.5)
    history.close()


def read_run(folder: Path) -> None:
    """Resume a run."""
    checkpoint = folder / "checkpoint-2"
    model = resumed_model(folder, checkpoint, BertForMaskedLM, CONFIG, SETTINGS)
    optimizer = AdamW(model.params)
    restore_optimizer(checkpoint, optimizer)
    assert 0 <= optimizer.step <= SETTINGS.steps
    assert optimizer.first.dtype == optimizer.second.dtype == np.float32
    files_checksum(WordPieceTokenizer.from_pretrained(checkpoint))


def read_history_of(folder: Path) -> None:
    """Read the history and the best evaluation of a run."""
    model = BertForMaskedLM(CONFIG)
    BestCheckpoint(model, 3, folder, 2)
    History(folder, 2).close()


def seed_unigram(folder: Path) -> None:
    """Write only the tokenizer.json of a Unigram tokenizer."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "▁c", "a", "t", "s", "<mask>"]
    found = UnigramTokenizer(
        [(piece, -1.0 - i / 8) for i, piece in enumerate(pieces)],
        normalizer=precompiled({"é": "e", "…": "..."}),
    )
    found.add_tokens([AddedToken("sat", lstrip=True)])
    found.save_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()


def seed_sentencepiece(folder: Path) -> None:
    """Write a SentencePiece model."""
    pieces = [(piece, -1.0) for piece in ["<unk>", "<s>", "</s>", "▁", "▁the", "c", "a", "t"]]
    (folder / "spm.model").write_bytes(spm_model(pieces, build_charsmap({"é": "e"})))


def read_unigram(folder: Path) -> None:
    """Load a Unigram tokenizer, use it, and check that it is saved and loaded unchanged."""
    found = UnigramTokenizer.from_pretrained(folder)
    encoding = found.encode(TEXT, "sat", max_length=12)
    found.decode(encoding.input_ids)
    again = folder / "again"
    try:
        found.save_pretrained(again)
        back = AutoTokenizer.from_pretrained(again)
    finally:
        shutil.rmtree(again, ignore_errors=True)
    assert back.encode(TEXT, "sat", max_length=12) == encoding
    assert dict(back.vocab) == dict(found.vocab)


def seed_store(folder: Path) -> None:
    """Write a store of three vectors."""
    shutil.rmtree(folder, ignore_errors=True)
    made_by = {"model": "a", "tokenizer": "b", "pooling": ["mean"], "layers": [2],
               "combine": "sum", "max_length": 9, "prompt": "", "include_prompt": True,
               "projections": []}  # fmt: skip
    store = VectorStore.create(folder, width=2)
    files = (StoredFile.of(folder / "lines.txt", folder),)
    StoreState(2, name="tiny", made_by=made_by, files=files).write(folder)
    store = VectorStore.open(folder)
    store.append(["one", "two", "three"], np.array([[1.0, 0], [0, 1], [3, 4]]))


def read_store(folder: Path) -> None:
    """Open a store, search it, and read its texts."""
    store = VectorStore.open(folder)
    scores, ids = store.search(np.ones((1, store.width)), 2)
    assert np.isfinite(scores).all()
    for text in store.texts(ids[0]):
        assert text in ("one", "two", "three")
    store.locations(ids[0])


TARGETS = {
    "store-state": Target(seed_store, "store.json", read_store),
    "store-vectors": Target(seed_store, "vectors.npy", read_store),
    "store-places": Target(seed_store, "places.npy", read_store),
    "store-texts": Target(seed_store, "texts.txt", read_store),
    "vocab": Target(only("vocab.txt"), "vocab.txt", read_tokenizer),
    "tokenizer": Target(only("tokenizer.json"), "tokenizer.json", read_tokenizer),
    "bpe": Target(seed_byte_level("tokenizer.json"), "tokenizer.json", read_byte_level),
    "bpe-vocab": Target(seed_byte_level("vocab.json", "merges.txt"), "vocab.json", read_byte_level),
    "bpe-merges": Target(
        seed_byte_level("vocab.json", "merges.txt"), "merges.txt", read_byte_level
    ),
    "bpe-config": Target(
        seed_byte_level("tokenizer.json", "tokenizer_config.json"),
        "tokenizer_config.json",
        read_byte_level,
    ),
    "unigram": Target(seed_unigram, "tokenizer.json", read_unigram),
    "sentencepiece": Target(seed_sentencepiece, "spm.model", read_unigram),
    "tokenizer-config": Target(
        only("vocab.txt", "tokenizer_config.json"), "tokenizer_config.json", read_tokenizer
    ),
    "special-tokens": Target(
        only("vocab.txt", "special_tokens_map.json"), "special_tokens_map.json", read_tokenizer
    ),
    "added-tokens": Target(
        only("vocab.txt", "added_tokens.json"), "added_tokens.json", read_tokenizer
    ),
    "config": Target(seed_model, "config.json", read_model),
    "config-labels": Target(seed_labels, "config.json", read_labels),
    "weights-f16": Target(partial(seed_wide, dtype=np.float16), "model.safetensors", read_model),
    "weights-f64": Target(partial(seed_wide, dtype=np.float64), "model.safetensors", read_model),
    "weights": Target(seed_model, "model.safetensors", read_model),
    "positions": Target(
        seed_sinusoidal, "model.safetensors", lambda folder: read_model(folder, BertForMaskedLM)
    ),
    "index": Target(seed_shards, "model.safetensors.index.json", read_model),
    "sentences": Target(seed_sentences, "modules.json", read_sentences),
    "pooling": Target(seed_sentences, "1_Pooling/config.json", read_sentences),
    "former-pooling": Target(seed_former_sentences, "1_Pooling/config.json", read_sentences),
    "sentence-length": Target(seed_sentences, "sentence_bert_config.json", read_sentences),
    "lower-case": Target(seed_former_sentences, "sentence_bert_config.json", read_sentences),
    "sentence-settings": Target(
        seed_sentences, "config_sentence_transformers.json", read_sentences
    ),
    "dense": Target(seed_sentences, "2_Dense/config.json", read_sentences),
    "dense-weights": Target(seed_sentences, "2_Dense/model.safetensors", read_sentences),
    "pickle": Target(seed_pickle, "pytorch_model.bin", read_pickle),
    **{
        name.split(".")[1]: Target(seed_table(name), name, read_table(name))
        for name in ("rows.tsv", "rows.csv", "rows.jsonl", "rows.conll")
    },
    **{
        f"{Path(name).stem}-{Path(name).suffix[1:]}": Target(
            partial(seed_other_table, name), name, read_table(name)
        )
        for name in TABLES
    },
    **{
        name: Target(seed_text, name, partial(read_text, name=name))
        for name in ("corpus.txt", "corpus.txt.gz")
    },
    "tokens-state": Target(seed_tokens, "kept/tokens.json", read_tokens),
    "tokens-ids": Target(seed_tokens, "kept/train.ids", read_tokens),
    "tokens-ends": Target(seed_tokens, "kept/train.ends", read_tokens),
    "tokens-counts": Target(seed_tokens, "kept/train.counts", read_tokens),
    "run-state": Target(seed_run, "checkpoint-2/trainer_state.json", read_run),
    "run-config": Target(seed_run, "checkpoint-2/config.json", read_run),
    "run-moments": Target(seed_run, "checkpoint-2/optimizer.safetensors", read_run),
    "history": Target(seed_run, "history.jsonl", read_history_of),
}
