"""Write the lock files: the version of each package, with the hashes of its wheels.

`python -m requirements.lock` resolves the dependencies in pyproject.toml with pip, once for this
platform, and again with the same versions for the others; pip's reports contain the hashes. Each of
these calls takes seconds if pip has the wheels, and else as long as it needs to download them.
`python -m requirements.lock site` writes that file alone; packages that others have, too, keep the
versions and hashes there. The files name no index, so pip asks the one that it is configured for.
They have no packages that need torch, whose builds differ from index to index.

    demo.lock   what the package needs
    test.lock   and its tests: the extra `test`
    ci.lock     and the other tools of .ci/run: the extras `lint` and `cover`
    site.lock   the site, and pages in a browser: the extras `docs` and `browser`
    ranks.lock  training by several processes, and curves: the extras `mpi` and `plot`

The last two have the hashes of this platform alone, because a platform without a wheel of one of
their packages would be left out of all files.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent / "pyproject.toml"
LOCKS = {  # name: extras
    "demo": (),
    "test": ("test",),
    "ci": ("test", "lint", "cover"),
    "site": ("docs", "browser"),
    "ranks": ("mpi", "plot"),
}
PORTABLE = ("demo", "test", "ci")  # have the hashes of other platforms
LINUX, GLIBC = ("x86_64", "aarch64"), ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28")
# Python versions and wheel tags of other platforms than the one that runs this.
PLATFORMS = [
    *(
        (version, [f"manylinux{glibc}_{machine}" for glibc in GLIBC])
        for machine in LINUX
        for version in ("3.11", "3.12", "3.13", "3.14")
    ),
    ("3.13", [f"macosx_{release}_0_arm64" for release in (11, 12, 13, 14)]),
    ("3.13", ["win_amd64"]),
]
# Needed on one system only, which pip does not see from another one.
ONLY_ON = {"colorama": 'sys_platform == "win32"'}
HEADER = "# Written by `python -m requirements.lock`; see there.\n"

Versions = dict[str, str]
Hashes = dict[str, set[str]]


def write_locks(names: Sequence[str] = (), folder: Path = FOLDER) -> None:
    """Write lock files.

    Args:
        names: of the files; none: all of them.
        folder: where they are.

    Raises:
        RuntimeError: pip finds no versions, or no wheels for this platform.
        ValueError: a name is not that of a lock file.
    """
    for name in names:
        if name not in LOCKS:
            raise ValueError(f"name: expected one of {', '.join(LOCKS)}, got {name}")
    project, chosen = read_project(), names or tuple(LOCKS)
    versions, hashes = read_locks(folder / f"{name}.lock" for name in LOCKS if name not in chosen)
    kept = {*versions}
    extras = {extra for name in chosen for extra in LOCKS[name]}
    found = resolve(wanted(project, extras), keep=pins_of(kept, versions))
    for name in ONLY_ON.keys() - kept:  # which pip does not see from this system
        found |= resolve([name])
    needs = {name: report["metadata"].get("requires_dist", []) for name, report in found.items()}
    new = {name: report for name, report in found.items() if name not in kept}
    versions |= {name: report["metadata"]["version"] for name, report in new.items()}
    add_hashes(hashes, new)
    packages = {
        name: closure(wanted(project, LOCKS[name]), needs) | ONLY_ON.keys()  # tqdm needs it too
        for name in chosen
    }
    portable = {each for name in chosen if name in PORTABLE for each in packages[name]} - kept
    for version, tags in PLATFORMS if portable else ():
        try:
            add_hashes(hashes, resolve(pins_of(portable, versions), version, tags))
        except RuntimeError as error:  # a package has no wheel for it
            sys.stderr.write(f"left out: {error}\n")
    for name in chosen:
        text = lock_text(packages[name], versions, hashes)
        (folder / f"{name}.lock").write_text(text, "utf-8")


def pins_of(names: Iterable[str], versions: Versions) -> list[str]:
    """Return the requirements of exactly these versions, sorted (list of str)."""
    return [f"{name}=={versions[name]}" for name in sorted(names)]


def read_locks(paths: Iterable[Path]) -> tuple[Versions, Hashes]:
    """Return the versions and the hashes in lock files, by package."""
    versions: Versions = {}
    hashes: Hashes = {}
    for path in paths:
        for line in path.read_text("utf-8").replace("\\\n", "").splitlines():
            if pin := re.match(r"([^#=\s]+)==(\S+)", line):
                versions[pin[1]] = pin[2]
                hashes[pin[1]] = {*re.findall(r"--hash=sha256:(\w+)", line)}
    return versions, hashes


def read_project() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml (dict)."""
    project: dict[str, Any] = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    return project


def wanted(project: Mapping[str, Any], extras: Iterable[str]) -> list[str]:
    """Return the requirements of the project and of some extras (list of str)."""
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(each for extra in extras for each in optional[extra])]


def resolve(
    requirements: Sequence[str],
    version: str | None = None,
    tags: Sequence[str] = (),
    keep: Iterable[str] = (),
) -> dict[str, Any]:
    """Return pip's report on each package that requirements need, by name (dict).

    Args:
        requirements: in pip's notation.
        version: of Python; None: that of this process.
        tags: the platforms of the wheels; none: this one.
        keep: versions of packages that may be needed.

    Raises:
        RuntimeError: pip finds no versions that fit.
    """
    where, start = f"{version or 'this Python'} {tags[0] if tags else ''}".strip(), time.monotonic()
    sys.stderr.write(f"{len(requirements)} requirements for {where}: ")
    sys.stderr.flush()
    with tempfile.TemporaryDirectory() as folder:
        report, kept = Path(folder) / "report.json", Path(folder) / "kept.txt"
        kept.write_text("\n".join(keep), "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--report", str(report)]
        command += ["--constraint", str(kept)]
        if version is not None:
            command += ["--target", folder, "--python-version", version, "--no-deps"]
            command += [word for tag in tags for word in ("--platform", tag)]
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, check=False
        )
        sys.stderr.write(f"{time.monotonic() - start:.0f} s\n")
        if done.returncode:
            raise RuntimeError(f"pip {version or ''} {' '.join(tags)}: {done.stderr.strip()}")
        packages = json.loads(report.read_text("utf-8"))["install"]
    return {canonicalize_name(each["metadata"]["name"]): each for each in packages}


def add_hashes(hashes: Hashes, found: Mapping[str, Any]) -> None:
    """Add the SHA-256 of each wheel in reports of pip to those of its package."""
    for name, report in found.items():
        hashes.setdefault(name, set()).add(
            report["download_info"]["archive_info"]["hashes"]["sha256"]
        )


def closure(requirements: Iterable[str], needs: Mapping[str, list[str]]) -> set[str]:
    """Return the names of the packages that requirements need, directly or not.

    >>> sorted(closure(["a>=1"], {"a": ["b", 'c; extra == "x"'], "b": [], "c": []}))
    ['a', 'b']

    Args:
        requirements: in pip's notation.
        needs: the requirements of each package.
    """
    names: set[str] = set()
    waiting = [(Requirement(each), "") for each in requirements]
    done = set()
    while waiting:
        requirement, extra = waiting.pop()
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        names.add(name)
        for each in ("", *requirement.extras):
            if (name, each) not in done:
                done.add((name, each))
                waiting += [(Requirement(text), each) for text in needs[name]]
    return names


def lock_text(names: Iterable[str], versions: Versions, hashes: Hashes) -> str:
    """Return the text of a lock file (str)."""
    lines = []
    for name in sorted(names):
        marker = f" ; {ONLY_ON[name]}" if name in ONLY_ON else ""
        parts = [f"{name}=={versions[name]}{marker}"]
        parts += [f"--hash=sha256:{each}" for each in sorted(hashes[name])]
        lines.append(" \\\n    ".join(parts) + "\n")
    return HEADER + "".join(lines)


if __name__ == "__main__":
    write_locks(sys.argv[1:])
