"""Write the bill of materials of a release, in the format CycloneDX 1.6 (JSON).

`python -m requirements.sbom dist/minibert.cdx.json dist/*.whl` lists the wheels of the release, the
weights inside the package, and the packages that it needs: those of demo.lock, each with the hashes
of its wheels. The same inputs give the same bytes, so the file can be compared with one's own.
"""

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from requirements.lock import FOLDER, read_project

PACKAGE = FOLDER.parent / "minibert"
WEIGHTS = PACKAGE / "pretrained" / "tiny" / "model.safetensors"
LOCKED = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)(?: ; (?P<marker>.*?))?\s+--hash")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
# https://cyclonedx.org/docs/1.6/json, with names in their registered form.
FORMAT, SPECIFICATION = "CycloneDX", "1.6"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "minibert.sbom")


def bill_of_materials(wheels: Iterable[Path], lock: Path = FOLDER / "demo.lock") -> dict[str, Any]:
    """Return the bill of materials (dict) of a release.

    Args:
        wheels: the files of the release.
        lock: the lock file with the packages that it needs.

    Raises:
        OSError: a file is missing.
    """
    project = read_project()
    reference = f"pkg:pypi/{project['name']}@{version_of_package()}"
    needed = [locked_component(entry) for entry in entries_of(lock)]
    weights = {
        "type": "machine-learning-model",
        "bom-ref": "tiny",
        "name": "tiny",
        "description": "The pre-trained weights inside the package.",
        "hashes": [sha256(WEIGHTS)],
    }
    content = {
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": reference,
                "name": project["name"],
                "version": version_of_package(),
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
                "purl": reference,
                "components": [
                    {"type": "file", "bom-ref": path.name, "name": path.name,
                     "hashes": [sha256(path)]}
                    for path in sorted(wheels, key=lambda path: path.name)
                ],
            }
        },
        "components": [weights, *needed],
        "dependencies": [
            {"ref": reference, "dependsOn": [each["bom-ref"] for each in (weights, *needed)]}
        ],
    }  # fmt: skip
    number = uuid.uuid5(NAMESPACE, json.dumps(content, sort_keys=True))
    return {
        "bomFormat": FORMAT,
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        **content,
    }


def version_of_package() -> str:
    """Return the version in `minibert/__init__.py` (str), which is not imported."""
    text = (PACKAGE / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    assert found is not None
    return found[1]


def entries_of(lock: Path) -> list[str]:
    """Return the entries of a lock file, one for each package (list of str)."""
    lines = lock.read_text("utf-8").replace("\\\n", "").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked_component(entry: str) -> dict[str, Any]:
    """Return the component of an entry of a lock file.

    A package has a wheel for each platform, and a component several hashes only of one file, so
    those of the wheels are properties.
    """
    found = LOCKED.match(entry)
    assert found is not None, entry
    reference = f"pkg:pypi/{found['name']}@{found['version']}"
    component = {
        "type": "library",
        "bom-ref": reference,
        "name": found["name"],
        "version": found["version"],
        "purl": reference,
        "scope": "required" if found["marker"] is None else "optional",
        "properties": [
            {"name": "minibert:wheel:sha256", "value": value} for value in HASH.findall(entry)
        ],
    }
    return component


def sha256(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, as CycloneDX writes it (dict)."""
    return {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}


def main(arguments: Sequence[str]) -> None:
    """Write the bill of materials to the first path, for the wheels at the others."""
    out, *wheels = map(Path, arguments)
    text = json.dumps(bill_of_materials(wheels), indent=2, ensure_ascii=False) + "\n"
    out.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
