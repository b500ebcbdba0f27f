"""Whatever the caller's environment, folder and file modes are: every entry gives its programs the declared environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import environment
from ansible_collections.bookstore.platform.plugins.module_utils.images import commands

ROOT = Path(__file__).parents[3]
TAKEN_OUT = {
    "LANG": "de_DE", "LC_TIME": "de_DE.UTF-8", "LC_MESSAGES": "xx", "LANGUAGE": "de",
    "ANSIBLE_INVENTORY": "/nowhere", "ANSIBLE_VAULT_PASSWORD_FILE": "/nowhere", "ANSIBLE_STRATEGY": "free",
    "ANSIBLE_STDOUT_CALLBACK": "nowhere", "ANSIBLE_CALLBACKS_ENABLED": "nowhere", "ANSIBLE_ROLES_PATH": "/nowhere",
    "ANSIBLE_COLLECTIONS_PATH": "/nowhere",
    "PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_PREFIX": "/nowhere", "PIP_REQUIRE_VIRTUALENV": "1", "UV_TARGET": "/nowhere",
    "UV_NO_BINARY": "1", "NODE_ENV": "production", "npm_config_omit": "dev", "NPM_CONFIG_PRODUCTION": "true", "NODE_OPTIONS": "--bad",
    "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/nowhere", "PYTHONWARNINGS": "error",
    "GOFLAGS": "-mod=vendor", "GOPATH": "/nowhere", "GOROOT": "/nowhere", "GO111MODULE": "off", "GOWORK": "/nowhere", "GOOS": "plan9",
    "MAVEN_OPTS": "-Xmx1k", "MAVEN_ARGS": "--offline", "JAVA_TOOL_OPTIONS": "-agentlib:nowhere",
    "KUBECONFIG": "/nowhere", "K8S_AUTH_HOST": "https://nowhere", "DOCKER_DEFAULT_PLATFORM": "linux/s390x", "PGHOST": "nowhere",
    "CDPATH": "/", "GREP_OPTIONS": "-v", "POSIXLY_CORRECT": "1", "BASH_ENV": "/nowhere", "TMPDIR": "/nowhere", "GIT_DIR": "/nowhere",
    "PERL5OPT": "-Mnowhere", "TAR_OPTIONS": "--nowhere",
}  # fmt: skip
KEPT = {
    "PIP_INDEX_URL": "https://a", "PIP_EXTRA_INDEX_URL": "https://b", "PIP_CONFIG_FILE": "/pip", "PIP_CERT": "/ca", "PIP_PROXY": "p",
    "UV_DEFAULT_INDEX": "https://c", "UV_INDEX_MIRROR_PASSWORD": "secret", "UV_INSECURE_HOST": "d", "UV_CONFIG_FILE": "/uv.toml",
    "npm_config_registry": "https://e", "NPM_CONFIG_USERCONFIG": "/npmrc", "npm_config_strict-ssl": "false", "NODE_EXTRA_CA_CERTS": "/ca",
    "npm_config_//e/:_authToken": "secret", "NODE_AUTH_TOKEN": "secret", "NPM_TOKEN": "secret",
    "GOPROXY": "https://f", "GONOSUMDB": "*", "GOPRIVATE": "*", "GOINSECURE": "*", "GOENV": "/goenv", "MAVEN_PASSWORD": "secret",
    "HTTP_PROXY": "http://g", "https_proxy": "http://h", "SSL_CERT_FILE": "/ca", "REQUESTS_CA_BUNDLE": "/ca", "CURL_CA_BUNDLE": "/ca",
    "APT_CONFIG": "/apt.conf", "DOCKER_HOST": "unix:///other.sock", "DOCKER_CONTEXT": "other", "DOCKER_CONFIG": "/docker",
    "E2E_WORKERS": "2",
}  # fmt: skip


def run(*command: str, cwd: Path | str = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    base = {name: os.environ[name] for name in ("HOME", "PATH", "USER") if name in os.environ}
    return subprocess.run(command, cwd=cwd, env={**base, **variables}, capture_output=True, text=True, timeout=120, check=False)


def test_what_changes_how_tools_work_is_taken_out_and_what_says_where_registries_are_stays() -> None:
    done = run(str(ROOT / "tools/environment"), "env", "-0", cwd="/", **TAKEN_OUT, **KEPT, LC_ALL="C", no_proxy="mirror")
    assert done.returncode == 0, done.stderr
    found = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    assert set(found) & set(TAKEN_OUT) == set()
    assert {name: found.get(name) for name in KEPT} == KEPT
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["ANSIBLE_CONFIG"] == str(ROOT / "ansible.cfg")
    assert found["PATH"].startswith(f"{ROOT}/.venv/bin:")
    assert found["NO_PROXY"] == found["no_proxy"] == "mirror,127.0.0.1,localhost,.bookstore.test"


def test_the_image_factory_starts_its_programs_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TAKEN_OUT, **KEPT}.items():
        monkeypatch.setenv(name, value)
    code, text = commands.capture(["env"], env={"GOFLAGS": "-mod=readonly"})
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert code == 0
    assert set(found) & set(TAKEN_OUT) == {"GOFLAGS"}
    assert found["GOFLAGS"] == "-mod=readonly"
    assert {name: found.get(name) for name in KEPT} == KEPT


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("-Djavax.net.ssl.trustStore=/ca.jks -Xmx1k -javaagent:x.jar", "-Djavax.net.ssl.trustStore=/ca.jks"),
        ("-Dhttps.proxyHost=p -Dhttp.nonProxyHosts='a|b'", "-Dhttps.proxyHost=p '-Dhttp.nonProxyHosts=a|b'"),
        ("--offline -s '/a b/settings.xml' -q", "-s '/a b/settings.xml'"),
        ("-Dquote='", ""),
    ],
)
def test_java_keeps_options_about_certificates_proxies_and_settings(given: str, kept: str) -> None:
    assert environment.java_options(given) == kept


def test_what_is_made_can_be_read_by_others(tmp_path: Path) -> None:
    command = f"umask 077; {ROOT}/tools/environment touch {tmp_path}/file"
    assert run("bash", "-c", command).returncode == 0
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_ansible_works_with_any_locale_and_in_any_folder() -> None:
    for locale in ({"LC_ALL": "C"}, {"LC_TIME": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"}, {}):
        done = run(str(ROOT / "tools/environment"), "ansible", "--version", cwd="/", **locale)
        assert done.returncode == 0, done.stderr
        assert f"config file = {ROOT}/ansible.cfg" in done.stdout


def test_make_works_in_a_hostile_environment(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text("exit 9\n")
    done = run("make", "-C", str(ROOT), "help", cwd="/", **{**TAKEN_OUT, "BASH_ENV": str(trap)})
    assert done.returncode == 0, done.stderr
    assert "make up" in done.stdout
    elsewhere = run("make", "-f", str(ROOT / "Makefile"), "up", cwd="/")
    assert elsewhere.returncode != 0
    assert f"BK-296: this is not the checkout's folder; run: make -C {ROOT}/" in elsewhere.stderr


def test_a_python_that_is_a_script_of_bash_is_found_all_the_same(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text("exit 9\n")
    # As version managers make them.
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        (tmp_path / name).write_text(f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = run(str(ROOT / "tools/environment"), "true", cwd="/", PATH=path, BASH_ENV=str(trap), ENV=str(trap))
    assert done.returncode == 0, done.stderr


def test_every_tool_takes_the_declared_environment() -> None:
    guard = '[[ ${BOOKSTORE_ENVIRONMENT:-} == declared ]] || exec "$(dirname "$0")/environment" "$(realpath "$0")" "$@"\n'
    seen = 0
    for tool in (ROOT / "tools").iterdir():
        text = tool.read_text(encoding="utf-8") if tool.is_file() else ""
        if text.startswith("#!/bin/bash"):
            seen += 1
            assert text.startswith("#!/bin/bash -p\n"), f"{tool.name}: BASH_ENV would be read"
            assert guard in text or tool.name == "environment", f"{tool.name}: add the guard of the others"
    assert seen > 8
    for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines():
        if line.startswith("\t"):
            assert line.startswith(("\t@tools/", "\t@$(RUN) ", "\t@$(PLAY) ", "\t@grep ")), line


@pytest.fixture(scope="module")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that other users may write: Ansible passes over its ansible.cfg."""
    folder = tmp_path_factory.mktemp("a checkout")
    for name in ("ansible.cfg", "verify.yml", "playbooks", "roles", "inventory", "collections", "tools"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.sum"))
        else:
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    folder.chmod(0o777)
    return folder


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({}, "roles_path="),
        ({"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_ROLES_PATH": "/nowhere"}, "roles_path=/nowhere"),
        ({"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_INVENTORY": "/dev/null"}, "inventory=/dev/null"),
        ({"ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_STRATEGY": "free"}, "strategy=free"),
    ],
)
def test_a_playbook_that_cannot_work_says_why(writable: Path, variables: dict[str, str], cause: str) -> None:
    ansible = str(ROOT / ".venv/bin/ansible-playbook")
    done = run(ansible, "verify.yml", "--tags", "none", cwd=writable, LC_ALL="C.UTF-8", **variables)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"BK-296: {cause}" in said
    assert f"{writable}/tools/environment ansible-playbook {writable}/PLAYBOOK.yml" in said


def test_it_works_as_the_message_says_from_any_folder(writable: Path) -> None:
    command = [f"{writable}/tools/environment", "ansible-playbook", f"{writable}/verify.yml", "--tags", "none"]
    done = run(*command, cwd="/", **TAKEN_OUT, LC_ALL="C")
    assert done.returncode == 0, done.stdout + done.stderr
