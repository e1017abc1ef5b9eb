"""Write folders that sentence-transformers opens: the counterpart of `sentence_folders`."""

import json
import os
from pathlib import Path
from typing import Any

from minibert.inference.features import FeatureExtractor
from minibert.inference.sentence_folders import FORMER_MODES, SETTINGS
from minibert.io.atomic import atomic_write
from minibert.models.hub import CONFIG, MODULES

TRANSFORMER = "sentence_bert_config.json"
KIND = "sentence_transformers.models."  # the name that all versions read
DEFAULT_PROMPT = "default"


def save_sentence_folder(extractor: FeatureExtractor, folder: str | os.PathLike[str]) -> None:
    """Write an extractor's model, tokenizer and options to a folder of sentence-transformers.

    `SentenceTransformer(folder)` and `FeatureExtractor.from_pretrained(folder)` return the same
    vectors as the extractor. The files that name the modules are written last, so a folder that is
    not complete is not taken for one of another pooling.

    >>> import tempfile
    >>> extractor = FeatureExtractor.from_pretrained("tiny", pooling="cls", normalize=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_sentence_folder(extractor, folder)
    ...     again = FeatureExtractor.from_pretrained(folder)
    >>> again.pooling, again.normalize
    ('cls', True)

    Args:
        extractor: pools the last layer, without a Dense module.
        folder: is created if missing.

    Raises:
        OSError: a file cannot be written.
        ValueError: the modules of sentence-transformers do not have an option of the extractor.
    """
    _require_modules(extractor)
    folder, model = Path(folder), extractor.model
    extractor.tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    width = model.config.hidden_size
    pooling = {
        "word_embedding_dimension": width,
        **{key: mode in extractor.modes for key, mode in FORMER_MODES.items()},
        "include_prompt": extractor.skipped == 0,
    }
    _write(folder / "1_Pooling" / CONFIG, pooling)
    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    if extractor.normalize:
        kinds["Normalize"] = "2_Normalize"
        (folder / "2_Normalize").mkdir(exist_ok=True)
    transformer = {"max_seq_length": extractor.max_length, "do_lower_case": False}
    _write(folder / TRANSFORMER, transformer)
    prompts = {DEFAULT_PROMPT: extractor.prompt} if extractor.prompt else {}
    settings = {
        "prompts": prompts,
        "default_prompt_name": DEFAULT_PROMPT if prompts else None,
        "similarity_fn_name": "cosine",
    }
    _write(folder / SETTINGS, settings)
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": KIND + kind}
        for i, (kind, path) in enumerate(kinds.items())
    ]
    _write(folder / MODULES, modules)


def _require_modules(extractor: FeatureExtractor) -> None:
    last = extractor.model.config.num_blocks
    if extractor.layers != [last]:
        raise ValueError(f"layers: expected the last one, {last}, got {extractor.layers}")
    known = [mode for mode in FORMER_MODES.values() if mode in extractor.modes]
    if known != extractor.modes:
        raise ValueError(
            f"pooling: expected some of {', '.join(FORMER_MODES.values())}, in this order, got "
            f"{', '.join(extractor.modes)}"
        )
    if extractor.projections:
        raise ValueError(f"projections: expected none, got {len(extractor.projections)}")


def _write(path: Path, content: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
