"""Read the folders of sentence-transformers: how the model's tokens become a text's vector.

`modules.json` lists the modules, which are applied in this order: a Transformer, a Pooling, and any
number of Dense, Normalize and Dropout. Their folders contain their settings. What could change the
vectors and is not understood is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from minibert.functional import activate_forward, linear_forward
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.hub import CONFIG, MODULES, Module, read_modules
from minibert.models.pooling import normalize_forward
from minibert.models.weights import WEIGHTS, open_weights
from minibert.typing import Array

Projection = Callable[[Array], Array]  # (B, D) -> (B, D')

SETTINGS = "config_sentence_transformers.json"
KINDS = "bert roberta distilbert camembert albert xlm-roberta xlnet"  # of which files are named
# The modes of a Pooling before version 5.4, as keys that may be true, in the order of their output.
FORMER_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Settings of the Transformer that are not read, and the value that changes nothing. Those for
# queries and documents only apply where a caller names a task.
TEXTS_ONLY = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
UNREAD: dict[str, Any] = {
    "transformer_task": "feature-extraction",
    "modality_config": TEXTS_ONLY,
    "module_output_name": "token_embeddings",
    "processing_kwargs": {},
    **{f"{what}_args": {} for what in ("model", "tokenizer", "config")},
    **{f"{what}_kwargs": {} for what in ("model", "processor", "config")},
}
HARMLESS = {"trust_remote_code", "attn_implementation"}


def _activate(x: Array, kind: str) -> Array:
    return activate_forward(x, None, kind, keep=False)[0]


ACTIVATIONS: dict[str, Projection] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": partial(_activate, kind="relu"),
    "GELU": partial(_activate, kind="gelu"),
}


@dataclass(frozen=True)
class SentenceFolder:
    """The content of a folder.

    Attributes:
        transformer: the folder of the model and the tokenizer.
        options: options of `FeatureExtractor`.
        max_length: in tokens; None: not stated.
        do_lower_case: whether texts are converted to lower case for a tokenizer that is cased.
        prompts: texts to write before each text, by their names.
    """

    transformer: Path
    options: Mapping[str, Any]
    max_length: int | None = None
    do_lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dense:
    """Vectors x (B, I) to activation(x Wᵀ + b), (B, O); plus x Rᵀ if it has a residual."""

    weight: Array  # W (O, I)
    bias: Array | None  # b (O,)
    residual: Array | None  # R (O, I)
    activation: str

    def __call__(self, x: Array) -> Array:
        """Return the vectors (B, O)."""
        if x.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"pooling: expected vectors of {self.weight.shape[1]} numbers, for which the Dense "
                f"module was trained, got {x.shape[-1]}"
            )
        out = ACTIVATIONS[self.activation](linear_forward(x, self.weight, self.bias)[0])
        return out if self.residual is None else out + x @ self.residual.T  # (B, I) @ (I, O)


def unit_length(x: Array) -> Array:
    """Return vectors (B, D) scaled to length 1; a vector of zeros stays as it is."""
    return normalize_forward(x)[0]


def read_sentence_folder(folder: Path) -> SentenceFolder:
    """Read the settings of a folder; other folders than those of sentence-transformers have none.

    Raises:
        OSError, ValueError: a file is missing or invalid, or has a setting that is not supported.
    """
    modules = read_modules(folder)
    if not modules:
        return SentenceFolder(folder, {})
    if [each.kind for each in modules[:2]] != ["Transformer", "Pooling"]:
        kinds = sanitize(", ".join(each.kind for each in modules))
        raise ValueError(f"{folder / MODULES}: expected Transformer, Pooling, ..., got {kinds}")
    transformer, pooling = (each.folder for each in modules[:2])
    length, do_lower_case = read_transformer(transformer)
    truncation, prompt, prompts = read_settings(folder / SETTINGS)
    projections = [
        projection for each in modules[2:] if (projection := _read_projection(folder, each))
    ]
    normalize = bool(projections) and projections[-1] is unit_length and truncation is None
    if normalize:  # an option, which a caller may change
        projections.pop()
    if truncation is not None:  # to the first dimensions, as the last step
        projections.append(itemgetter((..., slice(truncation))))
    options = {
        **_read_pooling(pooling / CONFIG),
        "projections": projections,
        "normalize": normalize,
        "prompt": prompt,
    }
    return SentenceFolder(transformer, options, length, do_lower_case, prompts)


def read_transformer(
    folder: Path, others: Mapping[str, Any] | None = None
) -> tuple[int | None, bool]:
    """Return the maximum length in tokens, None if it is not stated; and `do_lower_case`.

    Args:
        folder: the folder of the Transformer.
        others: settings that are accepted with other values than for vectors.

    Raises:
        OSError, ValueError: the settings are invalid, or one is not supported.
    """
    paths = [folder / f"sentence_{kind}_config.json" for kind in KINDS.split()]
    path = next((path for path in paths if path.is_file()), paths[0])
    fields = read_json(path) if path.is_file() else {}
    for name, accepted in {**UNREAD, **(others or {})}.items():
        value = fields.get(name)
        if isinstance(value, dict):
            value = {key: each for key, each in value.items() if key not in HARMLESS}
        if value is not None and value != accepted:
            raise _unsupported(path, name, repr(accepted), value)
    length = fields.get("max_seq_length")
    if type(length) not in (int, type(None)):
        raise _unsupported(path, "max_seq_length", "an integer", length)
    lower = fields.get("do_lower_case", False)
    if not isinstance(lower, bool):
        raise _unsupported(path, "do_lower_case", "true or false", lower)
    return length, lower


def _read_pooling(path: Path) -> dict[str, Any]:
    """Return the options of a Pooling; unknown modes are left to `FeatureExtractor`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the settings of the pooling")
    fields = read_json(path)
    modes = fields.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in FORMER_MODES.items() if fields.get(key)] or ["mean"]
    unknown = {key for key in fields if key.startswith("pooling_mode_")} - FORMER_MODES.keys()
    modes = [
        *(modes if isinstance(modes, list) else [modes]),
        *sorted(key for key in unknown if fields[key]),
    ]
    include_prompt = fields.get("include_prompt", True)
    if not isinstance(include_prompt, bool):
        raise _unsupported(path, "include_prompt", "true or false", include_prompt)
    return {
        "pooling": modes[0] if len(modes) == 1 else tuple(modes),
        "include_prompt": include_prompt,
    }


def read_settings(
    path: Path, expected: str = "SentenceTransformer"
) -> tuple[int | None, str, dict[str, str]]:
    """Return the number of dimensions to keep, None for all; the default prompt; all prompts.

    Args:
        path: the file, which may be missing.
        expected: the kind of model.

    Raises:
        OSError, ValueError: the file is invalid, or has a setting that is not supported.
    """
    fields = read_json(path) if path.is_file() else {}
    kind = fields.get("model_type", expected)
    if kind != expected:
        raise _unsupported(path, "model_type", expected, kind)
    dimensions = fields.get("truncate_dim")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise _unsupported(path, "truncate_dim", "an integer of at least 1", dimensions)
    prompts, name = fields.get("prompts") or {}, fields.get("default_prompt_name")
    if not isinstance(prompts, dict):
        raise _unsupported(path, "prompts", "texts by name", prompts)
    known: dict[Any, Any] = {None: "", "query": "", "document": "", **prompts}
    prompt = known.get(name, 0) if isinstance(name, str | None) else 0
    if not isinstance(prompt, str | None):
        raise _unsupported(path, "default_prompt_name", "the name of a text in prompts", name)
    texts = {key: each or "" for key, each in known.items() if isinstance(each, str | None)}
    del texts[None]
    return dimensions, prompt or "", texts


def _read_projection(root: Path, module: Module) -> Projection | None:
    """Return the function of a module after the pooling; None if it changes nothing."""
    if module.kind not in ("Dense", "Normalize", "Dropout"):
        raise ValueError(
            f"{root / MODULES}: expected Transformer, Pooling, Dense, Normalize or Dropout, got "
            f"{sanitize(module.kind)}; BertModel.from_pretrained reads the Transformer alone"
        )
    path = module.folder / CONFIG
    fields = read_json(path) if path.is_file() else {}
    for name in "module_input_name", "module_output_name":
        if fields.get(name) not in (None, "sentence_embedding"):
            raise _unsupported(path, name, "sentence_embedding", fields[name])
    if module.kind == "Dense":
        return _read_dense(module.folder, fields)
    return unit_length if module.kind == "Normalize" else None


def _read_dense(folder: Path, fields: Mapping[str, Any]) -> Dense:
    activation = str(fields.get("activation_function", "torch.nn.Tanh"))
    package, _, name = activation.rpartition(".")
    if not package.startswith("torch.nn") or name not in ACTIVATIONS:
        expected = f"torch.nn's {', '.join(ACTIVATIONS)}"
        raise _unsupported(folder / CONFIG, "activation_function", expected, activation)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(
            f"{folder / WEIGHTS}: no such file; sentence_transformers writes it: "
            "SentenceTransformer(folder).save_pretrained(new_folder)"
        )
    with open_weights(folder) as tensors:
        arrays = {name: tensor.read().astype(np.float32) for name, tensor in tensors.items()}
    out, inputs = fields.get("out_features"), fields.get("in_features")
    expected_shapes: dict[str, tuple[Any, ...]] = {"linear.weight": (out, inputs)}
    if fields.get("bias", True):
        expected_shapes["linear.bias"] = (out,)
    if fields.get("use_residual") and out != inputs:
        expected_shapes["residual.weight"] = (out, inputs)
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != expected_shapes:
        got = sanitize(f"{expected_shapes}, got {shapes}")
        raise ValueError(f"{folder}: expected the arrays {got}")
    residual = arrays.get("residual.weight")
    if fields.get("use_residual") and residual is None:
        residual = np.eye(len(arrays["linear.weight"]), dtype=np.float32)
    return Dense(arrays["linear.weight"], arrays.get("linear.bias"), residual, name)


def _unsupported(path: Path, name: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{path}: {name}: expected {expected}, got {sanitize(repr(value))}")
