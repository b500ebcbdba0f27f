"""Artifacts from Maven repositories; the client is a stand-in on PATH, the real one runs in `make up`."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, recipes
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError

# Copies served/<artifact>-<version>.<type> to the folder that it is told, as the dependency plugin does.
CLIENT = """#!/bin/sh
for argument; do case $argument in
  -Dartifact=*) rest=${argument#*:} ;;
  -DoutputDirectory=*) folder=${argument#*=} ;;
esac; done
set -- $(echo "$rest" | tr : ' ')
mkdir -p "$folder" && cp "$(dirname "$0")/../served/$1-$2.$3" "$folder/"
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> builders.Context:
    (tmp_path / "served").mkdir()
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/mvn", CLIENT)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return builders.Context(cache.Cache(tmp_path / "cache"), tmp_path, tmp_path / "logs", {})


def program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def served(context: builders.Context, name: str, content: dict[str, str] | str) -> str:
    """Offer a file, or an archive of files, and return its sha256."""
    path = context.project / "served" / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        source = context.project / "source"
        for inner, text in content.items():
            (source / inner).parent.mkdir(parents=True, exist_ok=True)
            program(source / inner, text)
        with tarfile.open(path, "w:gz") as archive:
            for entry in sorted(source.iterdir()):
                archive.add(entry, entry.name)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(context: builders.Context, *files: dict[str, Any]) -> Path:
    target = context.project / "target"
    target.mkdir()
    builders.build_maven(recipes.Artifact("thing", "maven", context.project, {"files": list(files)}), target, context)
    return target


def test_files_are_fetched_and_archives_unpacked_below_their_folder(context: builders.Context) -> None:
    jar = served(context, "driver-1.2.jar", "jar")
    dist = served(context, "dist-3.tar.gz", {"dist-3/bin/run.sh": "#!/bin/sh\n", "dist-3/lib/a": "a"})
    target = fetch(
        context,
        {"artifact": "org.x:driver:1.2:jar", "sha256": jar},
        {"artifact": "org.x:dist:3:tar.gz", "sha256": dist, "unpack": True},
    )
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()) == ["bin/run.sh", "driver-1.2.jar", "lib/a"]
    assert os.access(target / "bin/run.sh", os.X_OK)
    assert [p for p in target.iterdir() if p.name.startswith(".")] == []


def test_another_content_is_refused(context: builders.Context) -> None:
    served(context, "driver-1.2.jar", "another")
    with pytest.raises(FactoryError, match=r"BK-151: thing: org\.x:driver:1\.2:jar has sha256 [0-9a-f]{64}, the recipe says abc") as caught:
        fetch(context, {"artifact": "org.x:driver:1.2:jar", "sha256": "abc"})
    assert "thing.log" in str(caught.value)


def test_a_failed_download_names_command_and_log(context: builders.Context) -> None:
    with pytest.raises(FactoryError, match="thing: `mvn .*-Dartifact=org.x:lost:1:jar.*` ended with exit code 1") as caught:
        fetch(context, {"artifact": "org.x:lost:1:jar", "sha256": "abc"})
    assert str(context.log("thing")) in str(caught.value)


def test_without_maven_and_root_the_command_is_told(context: builders.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders.shutil, "which", lambda name: None)
    monkeypatch.setattr(builders.os, "geteuid", lambda: 1000)
    with pytest.raises(FactoryError, match="BK-150: thing: .*`apt-get install maven`"):
        fetch(context, {"artifact": "org.x:driver:1.2:jar", "sha256": "abc"})


def test_root_installs_maven_from_the_distribution(context: builders.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = served(context, "driver-1.2.jar", "jar")
    client = context.project / "bin/mvn"
    client.rename(context.project / "bin/later")

    def install(packages: list[str], log: Path) -> bool:
        assert packages == ["maven"]
        shutil.copy(client.with_name("later"), client)
        return True

    monkeypatch.setattr(builders.debian_packages, "install", install)
    monkeypatch.setattr(builders.shutil, "which", lambda name: str(client) if client.exists() else None)
    monkeypatch.setattr(builders.os, "geteuid", lambda: 0)
    assert (fetch(context, {"artifact": "org.x:driver:1.2:jar", "sha256": jar}) / "driver-1.2.jar").is_file()


def test_the_hash_in_the_recipe_decides_the_cache_entry(context: builders.Context) -> None:
    def key(sha256: str) -> str:
        files = [{"artifact": "org.x:driver:1.2:jar", "sha256": sha256}]
        return cache.digest(builders.inputs(recipes.Artifact("thing", "maven", context.project, {"files": files}), context))

    assert key("a") != key("b")
