"""The SentencePiece model of an ALBERT, without a `tokenizer.json`: `spiece.model`.

Its ids are those of the file: <pad>, <unk>, [CLS], [SEP], [MASK], then signs that Google's code
kept apart, and the pieces. Text is normalized as the options of its class state, those of
`tokenizer_config.json`, before the normalizer table of the file:

============  ========  ==========================================================================
option        default   steps
============  ========  ==========================================================================
                        Replace `` and '' by "
keep_accents  false     NFKD and StripAccents, unless it is true
do_lower_case true      Lowercase
============  ========  ==========================================================================

Lan et al. (2020), section 4.1, and their code.
"""

import base64
from collections.abc import Mapping
from typing import Any

from minibert.io.text import sanitize
from minibert.tokenization.framing import BERT
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.saved import Source
from minibert.tokenization.sentencepiece import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    SentencePieceModel,
)
from minibert.tokenization.steps import StepNormalizer

UNKNOWN_ID = 1
QUOTES = ("``", "''")


def albert_source(model: SentencePieceModel, stated: Mapping[str, Any]) -> Source:
    """Return the pieces of a model, with the normalizer and the frame of an ALBERT.

    Args:
        model: the content of the file.
        stated: `tokenizer_config.json`, or nothing.

    Raises:
        ValueError: the unknown token has another id, a user-defined piece is part of another piece,
            or an option has no meaning here.
    """
    if model.unk_id != UNKNOWN_ID:
        raise ValueError(f"unk_id: expected {UNKNOWN_ID} for AlbertTokenizer, got {model.unk_id}")
    _require_apart(model)
    if _flag(stated, "remove_space", True) is False:
        raise ValueError("remove_space: expected true, got false")
    pieces = model.pieces
    normalizer = albert_normalizer(
        model.charsmap, _flag(stated, "keep_accents", False), _flag(stated, "do_lower_case", True)
    )
    StepNormalizer(normalizer)  # raises for a damaged table
    return Source(
        {piece: i for i, (piece, _) in enumerate(pieces) if piece}, len(pieces),
        scores=[score for _, score in pieces],
        normalizer=normalizer, metaspace=Metaspace(), template=BERT,
    )  # fmt: skip


def albert_normalizer(charsmap: bytes, keep_accents: bool, do_lower_case: bool) -> dict[str, Any]:
    """Return the part "normalizer" of the `tokenizer.json` of an ALBERT (dict).

    >>> whole = albert_normalizer(b"", keep_accents=False, do_lower_case=True)
    >>> StepNormalizer(whole).normalize("``É''")
    '"e"'

    Args:
        charsmap: the normalizer table of the SentencePiece model; empty for none.
        keep_accents, do_lower_case: see above.
    """
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in QUOTES
    ]
    if not keep_accents:
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if do_lower_case:
        steps.append({"type": "Lowercase"})
    if charsmap:
        table = base64.b64encode(charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": table})
    return {"type": "Sequence", "normalizers": steps}


def _require_apart(model: SentencePieceModel) -> None:
    """Raise ValueError if a user-defined piece is part of another one.

    SentencePiece never splits such a piece, nor joins it with others. Its score is 0, the best that
    there is, so if no other piece contains it, the best split always has it.
    """
    # Special tokens are never pieces of a text.
    kinds = [
        (piece, kind) for piece, kind in zip(model.pieces, model.types, strict=True)
        if kind not in (UNKNOWN, CONTROL)
    ]  # fmt: skip
    for (own, score), kind in kinds:
        if kind != USER_DEFINED:
            continue
        longer = next((piece for (piece, _), _ in kinds if own in piece and piece != own), None)
        if longer is not None or score < 0:
            what = f"part of {sanitize(longer)}" if longer else f"of the score {score}"
            raise ValueError(
                f"pieces: expected user-defined ones apart from others and of the score 0, "
                f"got {sanitize(own)}, {what}"
            )


def _flag(stated: Mapping[str, Any], name: str, default: bool) -> bool:
    value = stated.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false, got {sanitize(value)}")
    return value
