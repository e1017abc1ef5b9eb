"""CONTRIBUTING, SECURITY, CITATION, the platforms and the hosted workflow say what is true."""

import ast
import fnmatch
import importlib
import io
import re
import sys
import tomllib
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest

import minibert
from minibert.models.hub import HUB_FILES, find_folder
from tests.style import PACKAGE, ROOT, imports, python_files, relative
from tests.test_style import phrases_in

NAMES = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/platforms.md",
         "docs/guides/verify.md"]  # fmt: skip
PAGES = {name: (ROOT / name).read_text("utf-8") for name in NAMES}
CURRENT = {name: text for name, text in PAGES.items() if name != "CHANGELOG.md"}
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MOST_LINES = {"docs/platforms.md": 60, "docs/guides/verify.md": 150}
# What a page calls by a form that files have, too.
NOT_FILES = {"owner/name"}


def prose(text):
    """Return a page without its blocks of code (str)."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def quoted(text):
    """Return what a page quotes in backticks (list of str)."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def named_files(text):
    """Return the files and folders that a page names, from the root (list of str).

    >>> named_files("`tests/`, `a.py`, `.ci/run`, `a.json`, `owner/name`, `~/a`, `a b/c`")
    ['tests/', 'a.py', '.ci/run']
    """
    pattern = r"[\w.-]+(/[\w.-]+)*/?"
    return [
        name
        for name in quoted(text)
        if re.fullmatch(pattern, name)
        and ("/" in name or name.endswith((".py", ".md", ".toml", ".cff", ".yaml", ".yml")))
        and name not in NOT_FILES
        and not name.startswith(".venv/")
    ]


def slug(heading):
    """Return the anchor of a heading (str)."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", CURRENT)
def test_every_file_that_a_page_names_exists(name):
    found = named_files(PAGES[name])
    assert [file for file in found if not (ROOT / file).exists()] == []
    assert found or name == "docs/guides/verify.md"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", PAGES[name]):
        file = (ROOT / name).parent / target if target else ROOT / name
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(file.read_text("utf-8")), re.MULTILINE)
            assert anchor in map(slug, headings)


@pytest.mark.parametrize("name", CURRENT)
def test_every_name_of_the_package_that_a_page_quotes_exists(name):
    for dotted in quoted(PAGES[name]):
        if re.fullmatch(r"minibert(\.\w+)+", dotted):
            module, _, attribute = dotted.rpartition(".")
            try:
                importlib.import_module(dotted)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), attribute), dotted


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_denied_phrase_and_are_short(name):
    assert phrases_in(ROOT / name) == []
    assert len(PAGES[name].splitlines()) <= MOST_LINES.get(name, 150)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/guides/verify.md"])
def test_python_blocks_run_and_print_what_the_page_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(python|output)\n(.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)
    names, printed = {"__name__": "page"}, ""
    assert blocks
    for kind, block in blocks:
        if kind == "output":
            assert printed == block
            continue
        with redirect_stdout(io.StringIO()) as out:
            exec(compile(block, name, "exec"), names)
        printed = out.getvalue()


# Versions.


def test_citation_and_changelog_have_the_version_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    fields = dict(re.findall(r"^([\w-]+): (.+)$", citation, re.MULTILINE))
    assert fields["version"] == minibert.__version__
    assert fields["license"] == PROJECT["license"]
    assert fields["title"] == PROJECT["name"]
    newest, oldest = re.findall(r"^## (.*)$", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert minibert.__version__ in newest
    assert "commit 2d6587d" in oldest


# The hosted workflow.


def test_workflow_calls_ci_and_tries_the_oldest_versions():
    assert (ROOT / ".ci" / "run").exists()
    assert "\n      - run: .ci/run\n" in WORKFLOW
    assert WORKFLOW.count("continue-on-error:") == 1  # of the job after that of .ci/run
    assert WORKFLOW.index("run: .ci/run") < WORKFLOW.index("continue-on-error:")
    oldest = PROJECT["requires-python"].removeprefix(">=")
    (numpy,) = (each for each in PROJECT["dependencies"] if each.startswith("numpy"))
    rows = re.findall(
        r'os: ([\w.-]+), python: "([\d.]+)", numpy: "(.*?)", untested: (\w+)', WORKFLOW
    )
    assert ("ubuntu-latest", oldest, f"=={numpy.removeprefix('numpy>=')}.*", "false") in rows
    versions = [tuple(map(int, python.split("."))) for _, python, _, _ in rows]
    assert min(versions) == tuple(map(int, oldest.split(".")))
    systems = {system for system, *_ in rows}
    assert systems >= {"ubuntu-latest", "macos-latest", "windows-latest"}
    assert {system for system, *_, untested in rows if untested == "false"} == {"ubuntu-latest"}


# Platforms.

POSIX = (
    "fcntl.",
    "sched_getaffinity",
    "mallopt",
    "SIGTERM",
    "SIGHUP",
)  # in code, where it is guarded
UNGUARDED = ("os.fork", "signal.SIGHUP", "SIGALRM", "O_DIRECTORY", "/proc/", "os.getuid",
             "import pwd", "import resource", "os.nice", "os.mkfifo", "os.killpg")  # fmt: skip


def test_platforms_names_every_file_that_uses_posix():
    sources = {relative(path): path.read_text("utf-8") for path in python_files(PACKAGE)}
    users = {name for name, source in sources.items() if any(word in source for word in POSIX)}
    assert users <= set(named_files(PAGES["docs/platforms.md"]))
    assert len(users) >= 5
    assert [name for name, text in sources.items() if any(w in text for w in UNGUARDED)] == []


def test_modules_of_one_system_are_imported_conditionally():
    for path in python_files(PACKAGE):
        tree = ast.parse(path.read_text("utf-8"))
        tried = {id(one) for node in ast.walk(tree) if isinstance(node, ast.Try)
                 for part in node.body for one in ast.walk(part)}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and node.names[0].name in ("fcntl", "msvcrt"):
                assert id(node) in tried, relative(path)


# Security.

DANGEROUS_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "torch",
                     "yaml", "socket", "urllib", "http", "requests", "ftplib"}  # fmt: skip
DANGEROUS_CALLS = {"eval", "exec", "compile", "__import__", "np.load", "numpy.load", "os.system",
                   "subprocess.run", "subprocess.Popen"}  # fmt: skip


def test_no_module_unpickles_evaluates_or_opens_a_connection():
    for path in python_files(PACKAGE):
        source = path.read_text("utf-8")
        roots = {one.module.split(".")[0] for one in imports(source)}
        assert not roots & DANGEROUS_MODULES, relative(path)
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(source))
                 if isinstance(node, ast.Call)}  # fmt: skip
        assert not calls & DANGEROUS_CALLS, relative(path)


def test_only_own_modules_are_imported_by_a_computed_name():
    """The names are from tables in the source: models, commands, laws and tokenizers."""
    users = {
        relative(path)
        for path in python_files(PACKAGE)
        if "import_module(" in path.read_text("utf-8")
    }
    assert users == {"minibert/__init__.py", "minibert/cli/__init__.py",
                     "minibert/models/table.py", "minibert/testing/__init__.py",
                     "minibert/tokenization/auto.py"}  # fmt: skip


def test_only_names_of_the_hub_are_downloaded_and_no_code(monkeypatch, tmp_path):
    asked = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    stub = SimpleNamespace(
        snapshot_download=lambda name, allow_patterns: asked.append(allow_patterns) or tmp_path
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    for name in ("here/model", "a/b/c", "../a/b", "/a/b", "https://a/b", "a/.b", "./a"):
        find_folder(name)
    assert asked == []
    assert find_folder("owner/name") == tmp_path
    assert asked == [HUB_FILES]
    files = ["config.json", "vocab.txt", "model.safetensors", "model-00001-of-2.safetensors"]
    others = ["pytorch_model.bin", "modeling.py", "model.pt", "model.safetensors.py",
              "a/model.onnx", "tf_model.h5", "flax_model.msgpack", "training_args.bin"]  # fmt: skip

    def is_fetched(file):
        return any(fnmatch.fnmatch(file, pattern) for pattern in HUB_FILES)

    assert all(map(is_fetched, files))
    assert not any(map(is_fetched, others))


def test_reading_a_checkpoint_writes_nothing(tmp_path, monkeypatch):
    config = minibert.BertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
    )
    minibert.BertModel(config).save_pretrained(tmp_path / "model")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    minibert.BertModel.from_pretrained(tmp_path / "model")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
