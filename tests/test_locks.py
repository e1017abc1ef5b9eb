"""The lock files and the bill of materials, without a network."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import lock, sbom
from requirements.lock import LOCKS, PLATFORMS, add_hashes, closure, lock_text, read_project, wanted

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def locked(name):
    """Return the version and the hashes of each package in a lock file."""
    entries = [sbom.locked_component(entry) for entry in sbom.entries_of(FOLDER / f"{name}.lock")]
    return {
        each["name"]: (each["version"], [part["value"] for part in each["properties"]])
        for each in entries
    }


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_each_requirement_with_hashes_and_no_index(name):
    packages, text = locked(name), (FOLDER / f"{name}.lock").read_text("utf-8")
    assert "://" not in text
    assert "-url" not in text
    for line in wanted(PROJECT, LOCKS[name]):
        requirement = Requirement(line)
        version, _ = packages[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), line
    for package, (_, hashes) in packages.items():
        assert len({*hashes}) == len(hashes) >= 1, package
    assert len(locked(name)["numpy"][1]) > 1  # of several platforms
    assert not {"torch", "transformers", "nvidia"} & packages.keys()


def test_the_locks_agree():
    largest = locked("ci")
    for packages in (locked("demo"), locked("test")):
        assert packages.items() <= largest.items()
    for other in (locked("site"), locked("ranks")):
        assert locked("demo").items() <= other.items()
        shared = {name: largest[name] for name in other.keys() & largest.keys()}
        assert shared.items() <= other.items()


def test_each_line_of_a_lock_is_one_that_pip_reads():
    for name in LOCKS:
        lines = (FOLDER / f"{name}.lock").read_text("utf-8").splitlines()
        for line in lines[1:]:
            entry = r'[a-z0-9.-]+==[\w.]+( ; sys_platform == "win32")? \\'
            assert re.fullmatch(rf"{entry}|    --hash=sha256:[0-9a-f]{{64}}( \\)?", line), line


def test_ci_installs_the_locks_before_what_they_lack():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "pip install --quiet --require-hashes --only-binary :all: -r" in script
    assert script.index("\ninstall_locked test\n") < script.index("bash -euo pipefail -c")
    assert script.index("\ninstall_locked ci\n") < script.index("'.[lint]'")
    assert script.index("\ninstall_locked ranks\n") < script.index("'.[test,parity,mpi,plot]'")
    assert script.index("\ninstall_locked site\n") < script.index("'.[browser,docs]'")
    assert {*re.findall(r"\ninstall_locked (\w+)\n", script)} <= {*LOCKS}


def report_of(name, digest, needs=()):
    return {
        "metadata": {"version": "9.9", "requires_dist": [*needs]},
        "download_info": {"archive_info": {"hashes": {"sha256": digest * 64}}},
    }


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return the calls of pip, which finds version 9.9 of each package, or the one to keep."""
    made = []
    for name in LOCKS:
        shutil.copy(FOLDER / f"{name}.lock", tmp_path)

    def resolve(requirements, version=None, tags=(), keep=()):
        made.append((version, [*requirements], [*keep]))
        names = {canonicalize_name(Requirement(line).name) for line in requirements}
        return {name: report_of(name, "a" if version is None else "b") for name in names}

    monkeypatch.setattr(lock, "resolve", resolve)
    return made


def test_one_lock_is_written_alone_and_shares_the_versions_of_the_others(tmp_path, calls):
    before = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    lock.write_locks(["site"], tmp_path)
    after = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["site.lock"]
    ((version, _, keep),) = calls  # no other platform is asked for
    assert version is None
    numpy = locked("ci")["numpy"]
    assert f"numpy=={numpy[0]}" in keep
    assert not any(line.startswith("mkdocs==") for line in keep)
    versions, hashes = lock.read_locks([tmp_path / "site.lock"])
    assert (versions["mkdocs"], hashes["mkdocs"]) == ("9.9", {"a" * 64})
    assert (versions["numpy"], hashes["numpy"]) == (numpy[0], {*numpy[1]})


def test_all_locks_have_new_versions_and_the_hashes_of_all_platforms(tmp_path, calls):
    lock.write_locks((), tmp_path)
    assert [version for version, *_ in calls] == [None, None, *(each[0] for each in PLATFORMS)]
    assert not any(keep for *_, keep in calls)
    for name in LOCKS:
        versions, hashes = lock.read_locks([tmp_path / f"{name}.lock"])
        assert {*versions.values()} == {"9.9"}
        assert hashes["numpy"] == {"a" * 64, "b" * 64}
    assert hashes["mpich"] == {"a" * 64}  # of this platform
    with pytest.raises(ValueError, match=r"name: expected one of demo, .*, got sit"):
        lock.write_locks(["sit"], tmp_path)


def test_lock_text_has_the_hashes_of_all_reports():
    hashes = {"b": set(), "colorama": set()}
    for digest in ("2" * 64, "1" * 64):
        report = {"download_info": {"archive_info": {"hashes": {"sha256": digest}}}}
        add_hashes(hashes, {"b": report})
    hashes["colorama"].add("3" * 64)
    text = lock_text(["colorama", "b"], {"b": "1.0", "colorama": "2.0"}, hashes)
    assert text.splitlines()[1:] == [
        "b==1.0 \\",
        f"    --hash=sha256:{'1' * 64} \\",
        f"    --hash=sha256:{'2' * 64}",
        'colorama==2.0 ; sys_platform == "win32" \\',
        f"    --hash=sha256:{'3' * 64}",
    ]


def test_closure_follows_extras_and_markers():
    needs = {
        "a": ["b[x]>=1", "old; python_version < '3'"],
        "b": ["c; extra == 'x'", "d; extra == 'y'"],
        "c": ["a"],
    }
    assert closure(["a"], needs) == {"a", "b", "c"}


def test_the_bill_of_materials_lists_package_weights_and_dependencies(tmp_path):
    wheel = tmp_path / "minibert-0-py3-none-any.whl"
    wheel.write_bytes(b"abc")
    sbom.main([str(tmp_path / "out.json"), str(wheel)])
    content = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert content["bomFormat"] == "CycloneDX"
    assert content["specVersion"] == "1.6"
    package = content["metadata"]["component"]
    assert package["version"] == sbom.version_of_package()
    (file,) = package["components"]
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert file == {
        "type": "file",
        "bom-ref": wheel.name,
        "name": wheel.name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    references = [each["bom-ref"] for each in content["components"]]
    assert content["dependencies"] == [{"ref": package["bom-ref"], "dependsOn": references}]
    names = {each["name"] for each in content["components"]}
    assert names == {"tiny", *locked("demo")}
    assert {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} <= names
    for each in content["components"][1:]:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        assert each["properties"]
    again = sbom.bill_of_materials([wheel])
    assert again == content  # the same inputs, the same bytes


def test_read_project_is_that_of_the_repository():
    assert read_project() == PROJECT
