"""Pushing to the nodes' registry: its credentials are nowhere but in memory, and what was pushed is what it answers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import loopback
from ansible_collections.bookstore.platform.plugins.module_utils.images import engine, push
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError

DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
ADDRESS = "127.0.0.1:36500"
# Stands for docker: notes its arguments, keeps what comes by standard input, and asks for credentials as the client does.
CLIENT = """#!/bin/sh
echo "$*" >>"$SEEN/arguments"
case $* in
  *"pusher add"*) cat >"$SEEN/password"; [ ! -e "$SEEN/refuses" ] || { echo "no such container" >&2; exit 1; } ;;
  push*)
    cat "$DOCKER_CONFIG/config.json" >"$SEEN/config"
    grep -r . "$DOCKER_CONFIG" >"$SEEN/files"
    echo 127.0.0.1:36500 | docker-credential-bookstore get >"$SEEN/answer"
    [ ! -e "$SEEN/fails" ] || { echo "denied" >&2; exit 1; }
    echo "tag: digest: $(cat "$SEEN/digest") size: 741" ;;
  "image inspect"*) cat "$SEEN/id" ;;
esac
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs, folder = tmp_path / "programs", tmp_path / "seen"
    programs.mkdir()
    folder.mkdir()
    (programs / "docker").write_text(CLIENT)
    (programs / "docker").chmod(0o755)
    (folder / "digest").write_text(DIGEST)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("SEEN", str(folder))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> engine.Engine:
    return engine.Engine("local", ADDRESS, "shop-registry", tmp_path / "cache")


def answers(monkeypatch: pytest.MonkeyPatch, digest: str | None) -> None:
    monkeypatch.setattr(loopback, "head", lambda *_: None if digest is None else {"docker-content-digest": digest})


def test_the_client_gets_the_credentials_that_the_registry_was_given(
    seen: Path, images: engine.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, DIGEST)
    assert images.publish("local/app:1", "app", ["1", "v2"], tmp_path / "log") == DIGEST
    lines = (seen / "arguments").read_text().splitlines()
    (name,) = {line.split()[-1] for line in lines if "pusher" in line}
    assert lines[0] == f"exec --interactive shop-registry pusher add {name}"
    assert lines[-1] == f"exec shop-registry pusher remove {name}"
    assert [line for line in lines if line.startswith("push")] == [f"push {ADDRESS}/app:1", f"push {ADDRESS}/app:v2"]
    password = (seen / "password").read_text()
    assert len(password) >= 40
    assert json.loads((seen / "answer").read_text()) == {"ServerURL": ADDRESS, "Username": name, "Secret": password}
    assert json.loads((seen / "config").read_text())["credHelpers"] == {ADDRESS: "bookstore"}


def test_the_password_is_in_no_argument_file_or_log(
    seen: Path, images: engine.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, DIGEST)
    images.publish("local/app:1", "app", ["1"], tmp_path / "log")
    password = (seen / "password").read_text()
    for file in (seen / "arguments", seen / "files", tmp_path / "log"):
        assert password not in file.read_text(), file.name
    assert list((tmp_path / "cache").iterdir()) == []
    images.publish("local/app:1", "app", ["1"], tmp_path / "log")
    assert (seen / "password").read_text() != password, "each push has its own"


def test_the_door_is_closed_after_a_push_that_failed(seen: Path, images: engine.Engine, tmp_path: Path) -> None:
    (seen / "fails").touch()
    with pytest.raises(FactoryError, match="denied"):
        images.publish("local/app:1", "app", ["1"], tmp_path / "log")
    assert "pusher remove push-" in (seen / "arguments").read_text().splitlines()[-1]


@pytest.mark.parametrize("answer", [OTHER, None])
def test_what_the_registry_answers_otherwise_is_not_taken(
    seen: Path, images: engine.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    answers(monkeypatch, answer)
    with pytest.raises(FactoryError, match=rf"BK-401: local/app:1: {DIGEST} was pushed, but .* has {answer or 'nothing'} as app:1"):
        images.publish("local/app:1", "app", ["1"], tmp_path / "log")


def test_a_registry_that_takes_no_credentials_is_named(seen: Path, images: engine.Engine, tmp_path: Path) -> None:
    (seen / "refuses").touch()
    with pytest.raises(FactoryError, match="BK-403: the nodes' registry shop-registry takes no credentials"):
        images.publish("local/app:1", "app", ["1"], tmp_path / "log")
    assert "\npush " not in (seen / "arguments").read_text()


def test_the_helper_answers_questions_and_nothing_else(seen: Path, tmp_path: Path) -> None:
    with push.allowed("shop-registry", ADDRESS, tmp_path / "cache") as environment:
        helper = Path(environment["DOCKER_CONFIG"], "docker-credential-bookstore")
        done = subprocess.run([str(helper), "list"], env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(("identifier", "body", "same"), [
    ("sha256:config", {"config": {"digest": "sha256:config"}}, True),
    ("sha256:another", {"config": {"digest": "sha256:config"}}, False),
    ("sha256:config", {"manifests": []}, False),
    ("sha256:config", None, False),
])  # fmt: skip
def test_the_engines_image_is_told_by_its_id(
    seen: Path, images: engine.Engine, monkeypatch: pytest.MonkeyPatch, identifier: str, body: dict[str, object] | None, same: bool
) -> None:
    manifest = None if body is None else json.dumps(body).encode()
    monkeypatch.setattr(loopback, "get", lambda *_: manifest)
    (seen / "id").write_text(f"{identifier}\n")
    digest = f"sha256:{hashlib.sha256(manifest or b'').hexdigest()}"
    assert images.is_same("local/app:1", "app", digest) is same
    assert not images.is_same("local/app:1", "app", DIGEST), "an answer that does not have the digest that was asked for"
