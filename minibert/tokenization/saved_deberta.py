"""The SentencePiece model of a DeBERTa-v2 or v3, without a `tokenizer.json`: `spm.model`.

Its ids are those of the file, and [MASK] is after them. Text is put into the form NFC, as by
`transformers` 5, and not into the form of the file's normalizer table; before that into lower case
with `do_lower_case`. With `split_by_punct`, punctuation marks are words of their own.

He et al. (2021), DeBERTaV3, and their code.
"""

from collections.abc import Mapping
from typing import Any

from minibert.io.text import sanitize
from minibert.tokenization.framing import BERT
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.saved import CONFIG, WHOLE, Source
from minibert.tokenization.sentencepiece import USER_DEFINED, SentencePieceModel

NAME = "DebertaV2Tokenizer"
UNKNOWN = "[UNK]"
# The steps of transformers 5 for a DeBERTa, before them Lowercase if asked for.
STEPS: list[dict[str, Any]] = [
    {"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " "},
    {"type": "NFC"},
    {"type": "Strip", "strip_left": False, "strip_right": True},
]


def deberta_source(model: SentencePieceModel, stated: Mapping[str, Any]) -> Source:
    """Return the pieces of a model, with the normalizer and the frame of a DeBERTa.

    Args:
        model: the content of the file.
        stated: `tokenizer_config.json`, or nothing.

    Raises:
        ValueError: the unknown token has another name, a piece is user-defined, or an option is
            not true or false.
    """
    if USER_DEFINED in model.types:  # transformers never splits them; here they would be split
        raise ValueError(f"pieces: user-defined ones are read from {WHOLE} alone")
    flags = {"do_lower_case": False, "split_by_punct": False, "add_prefix_space": True}
    flags |= {name: stated[name] for name in flags if name in stated}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{CONFIG}: {name}: expected true or false, got {flag!r}")
    unknown = model.pieces[model.unk_id][0]
    if unknown != UNKNOWN:
        raise ValueError(f"unk_id: expected {UNKNOWN} for {NAME}, got {sanitize(unknown)}")
    steps = [{"type": "Lowercase"}] if flags["do_lower_case"] else []
    scheme: Any = "always" if flags["add_prefix_space"] else "first"
    return Source(
        {piece: i for i, (piece, _) in enumerate(model.pieces) if piece}, len(model.pieces),
        scores=[score for _, score in model.pieces],
        mask_lstrip=False,
        normalizer={"type": "Sequence", "normalizers": steps + STEPS},
        metaspace=Metaspace(False, scheme, splits_punctuation=flags["split_by_punct"]),
        template=BERT,
    )  # fmt: skip
