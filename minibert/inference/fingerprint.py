"""What decides the vectors of a text: checksums of a model and a tokenizer, and the settings.

The checksums are of values in memory, not of files, so the same model in other files, or in another
folder, has the same ones. A later version of minibert finds the same ones, too, because only those
fields of a configuration count that are not the defaults.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from minibert.inference.features import FeatureExtractor
from minibert.inference.sentence_folders import Dense
from minibert.tokenization import PreTrainedTokenizer

DIGEST_BYTES = 16
# Fields of a configuration that change no vector.
OTHER_FIELDS = {
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "problem_type",
}
# A text in which tokenizers differ: case, accents, widths, scripts, digits, punctuation, spaces.
PROBE = (
    "The Quick-brown fox's 12,345.67 na\u00efve caf\u00e9s CAFE\u0301 \ufb01 \u212b \u00df \u0130 "
    "\uff21 \u4f60\u597d \u65e5\u672c\u8a9e \ud55c\uad6d \U0001f642 don't\t#tag  @me a_b [x]\u200d"
)


def fingerprint(extractor: FeatureExtractor) -> dict[str, Any]:
    """Return what decides an extractor's vectors, by name, as JSON can store it (dict).

    `model` and `tokenizer` are checksums; the others are settings.
    """
    return {
        "model": model_checksum(extractor),
        "tokenizer": tokenizer_checksum(extractor.tokenizer),
        "pooling": list(extractor.modes),
        "layers": list(extractor.layers),
        "combine": extractor.combine,
        "max_length": int(extractor.max_length),
        "prompt": extractor.prompt,
        "include_prompt": not extractor.skipped,
        "projections": [_described(each) for each in extractor.projections],
    }


def model_checksum(extractor: FeatureExtractor) -> str:
    """Return a checksum of the body of an extractor's model, and of the pooler if it is used."""
    model, has_pooler = extractor.model, "pooler" in extractor.modes
    config = {
        field.name: getattr(model.config, field.name)
        for field in dataclasses.fields(model.config)
        if field.name not in OTHER_FIELDS and getattr(model.config, field.name) != field.default
    }
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    digest.update(repr((model.config.model_type, sorted(config.items()))).encode())
    for name, array in sorted(model.params.scope(model.prefix).items()):
        if has_pooler or not name.startswith("pooler."):
            digest.update(repr((name, array.dtype.name, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def tokenizer_checksum(tokenizer: PreTrainedTokenizer) -> str:
    """Return a checksum of a tokenizer's pieces with their ids, and of the ids of a text."""
    pieces = sorted(tokenizer.vocab.items(), key=lambda each: (each[1], each[0]))
    ids = np.asarray(tokenizer.encode(PROBE).input_ids).tolist()
    content = repr((type(tokenizer).__name__, pieces, ids))
    return hashlib.blake2b(content.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _described(projection: Any) -> str:
    """Return a checksum of a Dense module's arrays, or the name of another function."""
    if not isinstance(projection, Dense):
        return getattr(projection, "__qualname__", None) or repr(projection)
    digest = hashlib.blake2b(projection.activation.encode(), digest_size=DIGEST_BYTES)
    for array in (projection.weight, projection.bias, projection.residual):
        digest.update(b"none" if array is None else repr(array.shape).encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return f"Dense {digest.hexdigest()}"
