"""The documents of the images that run here, compared with what the programs inside of the images say themselves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document, packages
from operator_view import sbom, settings

QUERY = "${Package} ${Version} ${Architecture} ${source:Package} ${source:Version} ${db:Status-Status}\\n"
PYTHON = "import importlib.metadata as m, json, sys; print(json.dumps([[d.name, d.version] for d in m.distributions(path=[sys.argv[1]])]))"
Documents = dict[str, document.Reading]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """What `make sbom` writes, by image."""
    reports = tmp_path_factory.mktemp("sbom")
    result = sbom.renew(settings.load(), reports)
    assert not result.missing, result.missing
    return {name: document.read((reports / f"{name}{sbom.SUFFIX}").read_text(), name) for name in result.documents}


def inside(reading: document.Reading, *command: str) -> str:
    """Return what a program of an image says."""
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", command[0], reading.reference, *command[1:]]
    return subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout


def of_kind(reading: document.Reading, kind: str) -> list[packages.Package]:
    return [package for package in reading.packages if package.kind == kind]


def test_every_image_is_wholly_known(documents: Documents) -> None:
    assert {"ecom", "keycloak", "kafka", "flink", "superset", "node", "pilot", "storefront"} <= set(documents)
    for name, reading in documents.items():
        assert of_kind(reading, "deb"), f"{name} is made of Debian, and no package of it is known"
        unknown = [sorted(package.places) for package in of_kind(reading, packages.UNKNOWN)]
        assert not unknown, f"{name}: {unknown}"


@pytest.mark.parametrize("image", ["postgresql", "storefront", "node", "flink"])
def test_debian_packages_are_those_that_dpkg_tells(documents: Documents, image: str) -> None:
    """Two releases of Debian, and images with much on top."""
    told = [line.split() for line in inside(documents[image], "dpkg-query", "--show", f"--showformat={QUERY}").splitlines()]
    assert {tuple(fields[:5]) for fields in told if fields[5] == "installed"} == {
        (package.name, package.version, dict(package.qualifiers)["arch"], package.note("bookstore:deb:source"),
         package.note("bookstore:deb:source-version"))
        for package in of_kind(documents[image], "deb")
    }  # fmt: skip


@pytest.mark.parametrize(("image", "folder"), [("ecom", "/opt/app"), ("superset", "/opt/superset/python")])
def test_python_packages_are_those_that_python_tells(documents: Documents, image: str, folder: str) -> None:
    told = json.loads(inside(documents[image], "python3", "-c", PYTHON, folder))
    found = {(package.name, package.version) for package in of_kind(documents[image], "pypi")}
    assert {(name.lower().replace("_", "-").replace(".", "-"), version) for name, version in told} == found


@pytest.mark.parametrize(("image", "name"), [("pilot", "pilot-discovery"), ("kube-proxy", "kube-apiserver")])
def test_go_modules_are_those_that_go_tells(documents: Documents, image: str, name: str, tmp_path: Path) -> None:
    program = f"/usr/local/bin/{name}"
    known = settings.load()
    toolchains = sorted((known.cache / "wheels").glob("toolchain-go-*/go/bin/go"))
    if not toolchains:
        pytest.skip(f"the Go toolchain is not in {known.cache}: the cache was deleted, and nothing had to be compiled since")
    with open(tmp_path / "program", "wb") as copy:
        run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "cat", documents[image].reference, program]
        subprocess.run(run, stdout=copy, timeout=120, check=True)
    command = [str(toolchains[-1]), "version", "-m", str(tmp_path / "program")]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    told = {}
    for line in text.splitlines():
        fields = line.split() or [""]
        if fields[0] in ("dep", "mod"):
            last, told[fields[1]] = fields[1], fields[2]
        elif fields[0] == "=>":
            del told[last]
            told[fields[1]] = fields[2]
    found = {package.name: package.version for package in of_kind(documents[image], "golang") if program in package.places}
    assert found.pop("stdlib") == text.splitlines()[0].rsplit("go", 1)[-1]
    assert found == {module: version for module, version in told.items() if version != "(devel)"}


@pytest.mark.parametrize(("image", "folder"), [("kafka", "/opt/kafka/libs"), ("debezium", "/opt/debezium/lib")])
def test_every_jar_is_a_package(documents: Documents, image: str, folder: str) -> None:
    told = inside(documents[image], "find", folder, "-name", "*.jar").split()
    places = {place for package in of_kind(documents[image], "maven") for place in package.places}
    assert len(told) > 10
    assert set(told) <= places


def test_the_storefront_holds_what_its_lock_pins(documents: Documents) -> None:
    lock = json.loads((settings.ROOT / "apps/storefront/package-lock.json").read_text())["packages"]
    direct = json.loads((settings.ROOT / "apps/storefront/package.json").read_text())["dependencies"]
    found = {f"{package.group}/{package.name}".lstrip("/"): package.version for package in of_kind(documents["storefront"], "npm")}
    assert direct.items() <= found.items()
    assert {name for name in found if not lock.get(f"node_modules/{name}")} == set()
    assert "vite" not in found
