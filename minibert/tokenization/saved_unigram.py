"""The files of a Unigram tokenizer: `tokenizer.json`, or a SentencePiece model.

Written: the files of every kind of tokenizer. Read: `tokenizer.json`, or else the SentencePiece
model and, for the names of its class and special tokens, `tokenizer_config.json`. fairseq trained
XLM-RoBERTa and CamemBERT with ids of its own; these are the differences from the ids of the file:

===========  ==========================================================  ========================
model        first ids                                                   after them
===========  ==========================================================  ========================
XLM-RoBERTa  <s> <pad> </s> <unk>                                        the pieces from id 3 on
CamemBERT    <s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED             the pieces from id 1 on
===========  ==========================================================  ========================

At the end of both is <mask>. ALBERT and DeBERTa have the ids of their files; see `saved_albert`,
`saved_deberta`, and `saved`.
"""

import base64
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.tokenization.added import AddedToken
from minibert.tokenization.framing import INPUTS, ROBERTA
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.saved import (
    CONFIG,
    NULLABLE_INT,
    WHOLE,
    AddedTokens,
    Format,
    Source,
    added_tokens_of,
)
from minibert.tokenization.saved_albert import albert_source
from minibert.tokenization.saved_deberta import deberta_source
from minibert.tokenization.saved_frame import read_frame, write_frame
from minibert.tokenization.sentencepiece import (
    MODEL_TYPES,
    USER_DEFINED,
    SentencePieceModel,
    read_sentencepiece,
)
from minibert.tokenization.steps import StepNormalizer
from minibert.tokenization.vocabulary import Vocabulary

MODELS = ("sentencepiece.bpe.model", "spm.model", "spiece.model")
FAIRSEQ = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
CAMEMBERT = [
    ("<s>NOTUSED", 0.0),
    ("<pad>", 0.0),
    ("</s>NOTUSED", 0.0),
    ("<unk>", 0.0),
    ("<unk>NOTUSED", -100.0),
]
MODEL_CONFIG = "config.json"
# The class by the `model_type` of a folder that does not state one.
FAMILIES = {
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "albert": "AlbertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
}
# By the class in tokenizer_config.json: the first ids, and the first piece of the file to follow.
IDS = {"unk_id": 0, "bos_id": 1, "eos_id": 2}  # in the files of both
LAYOUTS = {"XLMRobertaTokenizer": (FAIRSEQ, 3), "CamembertTokenizer": (CAMEMBERT, 1)}
# The classes with the ids of their files, and what reads these.
SOURCES = {"AlbertTokenizer": albert_source, "DebertaV2Tokenizer": deberta_source}
# The special tokens of BERT, which ALBERT and DeBERTa have, too.
BRACKETS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


class UnigramFormat(Format):
    """The files of a Unigram tokenizer."""

    kind = "Unigram"
    options: ClassVar = {
        "unk_token": (str,),
        "sep_token": (str,),
        "pad_token": (str,),
        "cls_token": (str,),
        "mask_token": (str,),
        "model_max_length": NULLABLE_INT,
    }
    mask_token = "<mask>"
    mask_lstrip = True

    def files(self, tokenizer: Any) -> dict[str, str]:
        """Return no older files, because they would be a SentencePiece model."""
        return {}

    def read_files(self, folder: Path) -> Source:
        """Read the SentencePiece model of a folder."""
        found = [folder / name for name in MODELS if (folder / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{folder}: expected {WHOLE} or {' or '.join(MODELS)}")
        model = read_sentencepiece(found[0])
        try:
            return _source_of_model(model, *_class_of(folder))
        except ValueError as error:
            raise ValueError(f"{found[0]}: {error}") from None

    def settle(self, options: dict[str, Any], known: Container[str], source: Source) -> None:
        """Name the special tokens of BERT if the pieces are those, and the segments of pairs."""
        if BRACKETS["cls_token"] in known and FAIRSEQ[0][0] not in source.ids:
            for name, token in BRACKETS.items():
                if token in known or name == "mask_token":
                    options.setdefault(name, token)
        if source.more["template"].pair_type:
            options.setdefault("model_input_names", INPUTS)

    def parts(self, source: Source, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments that are not options."""
        vocabulary = Vocabulary.with_gaps(source.ids, source.size, prefix="")
        return {"vocabulary": vocabulary, **source.more}

    def whole(
        self, tokenizer: Any, options: Mapping[str, Any], added: Mapping[int, AddedToken]
    ) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        pieces = zip(tokenizer.vocabulary.pieces, tokenizer.scores, strict=True)
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, **asdict(added[i])} for i in sorted(added)],
            "normalizer": tokenizer.normalizer.whole,
            "pre_tokenizer": tokenizer.metaspace.whole(),
            "post_processor": write_frame(tokenizer.template, tokenizer),
            "decoder": tokenizer.metaspace.decoder(),
            "model": {
                "type": "Unigram",
                "unk_id": tokenizer.unk_token_id,
                "vocab": [[piece, score] for piece, score in pieces],
                "byte_fallback": tokenizer.byte_fallback,
            },
        }

    def read_whole(self, whole: dict[str, Any]) -> tuple[Source, dict[str, Any], AddedTokens]:
        """Return the pieces, the options and the added tokens of `tokenizer.json`."""
        model = whole["model"]
        untyped = "Unigram" if isinstance(model["vocab"], list) else "one of no type"
        kind = model.get("type", untyped)  # old files do not contain it
        if kind != "Unigram":
            raise ValueError(f"model: expected Unigram, got {sanitize(kind)}")
        StepNormalizer(whole.get("normalizer"))  # raises for an unknown step
        template, options = read_frame(whole)
        options = {name: token for name, token in options.items() if name in self.options}
        vocab = [_piece(entry) for entry in model["vocab"]]
        unk_id = model["unk_id"]
        if type(unk_id) is not int or not 0 <= unk_id < len(vocab):
            raise ValueError(f"model: unk_id: expected 0 to {len(vocab) - 1}, got {unk_id!r}")
        options["unk_token"] = vocab[unk_id][0]
        source = _source(
            vocab,
            normalizer=whole.get("normalizer"),
            metaspace=Metaspace.from_whole(whole.get("pre_tokenizer") or {}),
            byte_fallback=bool(model.get("byte_fallback", False)),
            template=template,
        )
        return source, options, added_tokens_of(whole)


def score_of_file(score: float) -> float:
    """Return a score as `tokenizers` reads it from `tokenizer.json`.

    It divides the digits, as one integer, by a power of ten, and both are rounded, so that the last
    bit may differ from that of the nearest number. The best of equally probable splits depends on
    this bit, for example of long rows of dashes.

    >>> [score_of_file(score) for score in (-5.25, -12.458033897794039)]
    [-5.25, -12.45803389779404]
    """
    digits, _, exponent = repr(abs(score)).partition("e")
    whole, _, fraction = digits.partition(".")
    power = int(exponent or 0) - len(fraction)
    value = float(int(whole + fraction))
    value = value * float(f"1e{power}") if power >= 0 else value / float(f"1e{-power}")
    return -value if score < 0 else value


def _source(pieces: Sequence[tuple[str, float]], **more: Any) -> Source:
    """Return the pieces with their scores; of a repeated piece, the last id counts."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces) if piece}
    return Source(ids, len(pieces), scores=[score for _, score in pieces], **more)


def _source_of_model(
    model: SentencePieceModel, class_name: str, stated: Mapping[str, Any]
) -> Source:
    """Return the pieces of a SentencePiece model, with the ids of a class of transformers.

    Args:
        model: the content of the file.
        class_name: of transformers.
        stated: the options in `tokenizer_config.json`.
    """
    if model.model_type != 1:
        got = MODEL_TYPES.get(model.model_type, model.model_type)
        raise ValueError(f"model_type: expected Unigram, got {got}")
    if class_name not in LAYOUTS | SOURCES:
        raise ValueError(
            f"tokenizer_class: expected one of {', '.join(LAYOUTS | SOURCES)}, "
            f"got {sanitize(class_name)}; others normalize text in ways that only {WHOLE} states"
        )
    _require_usual(model)
    if class_name in SOURCES:
        return SOURCES[class_name](model, stated)
    if USER_DEFINED in model.types:  # transformers never splits them; here they would be split
        raise ValueError(f"pieces: user-defined ones are read from {WHOLE} alone")
    for name, i in IDS.items():
        if getattr(model, name) != i:
            raise ValueError(f"{name}: expected {i} for {class_name}, got {getattr(model, name)}")
    first, start = LAYOUTS[class_name]
    pieces = [*first, *model.pieces[start:], ("<mask>", 0.0)]
    table = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(model.charsmap).decode(),
    }
    normalizer = table if model.charsmap else None
    StepNormalizer(normalizer)  # raises for a damaged table
    return _source(pieces, normalizer=normalizer, metaspace=Metaspace(), template=ROBERTA)


def _require_usual(model: SentencePieceModel) -> None:
    """Raise ValueError if a model treats white space or unknown letters in an unusual way."""
    for name in "add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces":
        if not getattr(model, name):
            raise ValueError(f"{name}: expected true, got false")
    if model.byte_fallback:  # transformers does not either
        raise ValueError(f"byte_fallback: expected false, got true; it is read from {WHOLE} alone")


def _class_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the class that a folder states for its tokenizer, and the options that it states.

    It is XLM-RoBERTa's if there is none.
    """
    stated, model = (
        read_json(path) if path.is_file() else {}
        for path in (folder / CONFIG, folder / MODEL_CONFIG)
    )
    name = stated.get("tokenizer_class")
    if not name:
        # The files of DeBERTa's authors state "vocab_type": "spm".
        default = "deberta-v2" if stated.get("vocab_type") == "spm" else "xlm-roberta"
        family = str(model.get("model_type", default))
        name = FAMILIES.get(family, f"that of {family}")
    return str(name).removesuffix("Fast"), stated


MAX_SCORE = 1e300  # so a score is finite


def _piece(entry: Any) -> tuple[str, float]:
    """Return a piece and its score from a file."""
    match entry:
        case [str(piece), int() | float() as score] if not isinstance(score, bool):
            if abs(score) < MAX_SCORE:
                return piece, float(score)
    raise ValueError(f"model: vocab: expected pieces and their scores, got {sanitize(entry)}")
