"""The wheel and the sdist: complete, equal, and usable outside the repository without a network.

They are built by setuptools itself, which `pip install 'setuptools>=77'` provides; a venv of
Python 3.11 has an older one.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minibert

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minibert"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SKIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build", "dist", "results")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"

pytestmark = pytest.mark.slow


def command(*arguments, folder, **variables):
    """Run a command outside the repository; return what it printed (str)."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {k: v for k, v in environment.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        list(map(str, arguments)), cwd=folder, env={**environment, **variables},
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source, kind, out):
    """Return the file that setuptools builds from a folder, a `wheel` or an `sdist`."""
    out.mkdir()
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    command(sys.executable, "-c", code, out, folder=source)
    (file,) = out.iterdir()
    return file


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return an sdist, a wheel built from the repository, and a wheel built from the sdist."""
    pytest.importorskip("setuptools", minversion="77", reason="pip install 'setuptools>=77'")
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=SKIPPED)  # because building writes to the folder
    sdist = build(source, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return (
        sdist,
        build(source, "wheel", folder / "wheel"),
        build(unpacked, "wheel", folder / "again"),
    )


def wheel_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def package_files():
    """Return the names of all files of the package (set of str)."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_contains_every_file_of_the_package_and_nothing_else(built):
    _, wheel, _ = built
    names = wheel_files(wheel)
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == package_files()
    assert {"minibert/py.typed", "minibert/inspection/page.html"} <= inside
    version = minibert.__version__
    assert wheel.name == f"minibert-{version}-py3-none-any.whl"
    info = f"minibert-{version}.dist-info/"
    assert f"{info}licenses/LICENSE" in names
    assert b"minibert = minibert.__main__:main" in names[f"{info}entry_points.txt"]
    metadata = names[f"{info}METADATA"].decode()
    assert f"Version: {version}\n" in metadata
    for requirement in PROJECT["project"]["dependencies"]:
        assert f"Requires-Dist: {requirement.split(';')[0]}" in metadata


def test_every_pattern_of_package_data_has_a_file_in_the_wheel(built):
    inside = wheel_files(built[1])
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        for pattern in patterns:
            found = [path.relative_to(ROOT).as_posix() for path in folder.glob(pattern)]
            assert found, pattern
            assert set(found) <= inside.keys()


def test_wheel_from_the_sdist_has_the_same_files(built):
    sdist, wheel, again = built
    assert sdist.name == f"minibert-{minibert.__version__}.tar.gz"
    files, others = wheel_files(wheel), wheel_files(again)
    assert files.keys() == others.keys()
    assert [name for name in files if files[name] != others[name]] == []
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Return the folder of the commands of an environment with the wheel, and a folder to work in.

    The dependencies are those of this environment, so no network is needed.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False)
    scripts = folder / "env" / SCRIPTS
    python = scripts / Path(sys.executable).name
    python = python if python.exists() else scripts / "python"
    command(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", built[1],
        folder=folder,
    )  # fmt: skip
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    (own,) = command(python, "-c", code, folder=folder).splitlines()
    others = sorted({str(Path(np.__file__).parents[1]), *filter(is_site, sys.path)})
    (Path(own) / "dependencies.pth").write_text("\n".join(others) + "\n", "utf-8")
    return python, scripts, folder


def is_site(path):
    return Path(path).name in ("site-packages", "dist-packages")


def test_installed_package_is_that_of_the_wheel(installed):
    python, _, folder = installed
    code = "import minibert; print(minibert.__file__, minibert.__version__)"
    file, version = command(python, "-c", code, folder=folder).rsplit(maxsplit=1)
    assert Path(file).is_relative_to(folder / "env")
    assert version == minibert.__version__


def test_first_commands_run_from_the_wheel(installed):
    python, scripts, folder = installed
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    program = scripts / ("minibert.exe" if os.name == "nt" else "minibert")
    assert minibert.__version__ in command(program, "--version", folder=folder)
    helped = command(program, "--help", folder=folder)
    assert "finetune" in helped
    assert "all gradients agree" in command(program, "gradcheck", folder=folder)
    assert "exception" in command(
        program, "fill-mask", "tiny", "raises an [MASK] if the file does not exist.", folder=folder
    )
    trained = command(python, "-m", "minibert.by_hand", folder=folder)
    assert "Step  500: loss" in trained
    text = "\n\n".join(f"the cat sat on mat {i}\nand a dog ran under tree {i}" for i in range(60))
    (folder / "corpus.txt").write_text(text + "\n", "utf-8")
    command(
        program, "train-tokenizer", "corpus.txt", "--vocab-size", 80, "--out", "words",
        folder=folder, **cache,
    )  # fmt: skip
    command(
        program, "pretrain", "corpus.txt", "--tokenizer", "words", "--size", "tiny",
        "--length", 16, "--steps", 2, "--out", "model", folder=folder, **cache,
    )  # fmt: skip
    command(
        program, "inspect", "model", "the array is copied", "--html", "look.html",
        folder=folder, **cache,
    )  # fmt: skip
    assert (folder / "look.html").stat().st_size > 10_000
