"""The lock files and the bill of materials, without a network."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import sbom
from requirements.lock import LOCKS, add_hashes, closure, lock_text, read_project, wanted

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
    site = locked("site")
    assert locked("demo").items() <= site.items()
    assert {name: largest[name] for name in site.keys() & largest.keys()}.items() <= site.items()


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
    assert script.index("\ninstall_locked site\n") < script.index("'.[browser,docs]'")
    assert {*re.findall(r"\ninstall_locked (\w+)\n", script)} <= {*LOCKS}


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
