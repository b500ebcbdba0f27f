# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The environment that every program of this project gets: the one list of what is taken out of the caller's.

``tools/environment`` runs this file for the Makefile and for every tool, before there is a virtual environment, so nothing but the
standard library of any Python 3 is used; the modules import it for the programs that they start.

Whatever tells a client where its registry, proxy, certificates and credentials are is the operator's and stays, as does which
container engine is meant. What would change how a tool works is taken out. Other variables are left alone: a client's own
configuration may refer to any of them (``${NPM_TOKEN}``).
"""

from __future__ import annotations

import fnmatch
import os
import pwd
import shlex
import sys
from collections.abc import Mapping, Sequence

# Patterns, in capital letters, with - as _. A name that matches one of KEPT stays.
CLEARED = (
    # Ansible, Python and what tests and checks are run with.
    "ANSIBLE_*", "MOLECULE_*", "PY_COLORS", "PYTHON*", "PYTEST_*", "COVERAGE_*", "MYPY*", "RUFF_*", "HYPOTHESIS_*", "PLAYWRIGHT_*",
    "PWDEBUG", "VIRTUAL_ENV*", "CONDA_*",
    # Clients of package registries.
    "PIP_*", "UV_*", "NPM_CONFIG_*",
    "NODE_ENV", "NODE_OPTIONS", "NODE_PATH", "NODE_DEBUG", "NODE_V8_COVERAGE", "NODE_REPL_*", "NODE_PENDING_*",
    "CGO_*", "GO111MODULE", "GOARCH", "GOAMD64", "GOARM64", "GOBIN", "GOCACHE", "GODEBUG", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOGC",
    "GOMEMLIMIT", "GOMODCACHE", "GOOS", "GOPATH", "GOROOT", "GOTMPDIR", "GOTOOLCHAIN", "GOTOOLDIR", "GOWORK",
    "MAVEN_CONFIG", "MAVEN_BASEDIR", "MAVEN_PROJECTBASEDIR", "MAVEN_DEBUG_OPTS", "JAVA_OPTS", "CLASSPATH",
    "DPKG_*", "DEB_*", "DEBCONF_*", "PERL*",
    # The cluster and the engine; DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CONFIG say which engine.
    "KUBECONFIG", "K8S_AUTH_*", "KIND_*", "HELM_*", "DOCKER_BUILDKIT", "BUILDKIT_*", "BUILDX_*", "DOCKER_DEFAULT_PLATFORM",
    "DOCKER_CONTENT_TRUST*", "DOCKER_CLI_*",
    # libpq, in tests against a database of their own.
    "PG[A-Z]*",
    # Git's hooks set these for what they run.
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX",
    # Shells and what scripts call.
    "BASH_ENV", "BASH_FUNC_*", "BASHOPTS", "SHELLOPTS", "CDPATH", "ENV", "GLOBIGNORE", "IFS", "POSIXLY_CORRECT", "GREP_OPTIONS",
    "TAR_OPTIONS", "GZIP", "XZ_OPT", "XZ_DEFAULTS", "LS_OPTIONS", "MAKEFILES", "TMPDIR", "TMP", "TEMP", "TEMPDIR",
    "LANG", "LANGUAGE", "LC_*",
)  # fmt: skip
KEPT = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE", "PIP_CERT", "PIP_CLIENT_CERT",
    "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_KEYRING_PROVIDER", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES",
    "UV_*INDEX*", "UV_FIND_LINKS", "UV_CONFIG_FILE", "UV_CREDENTIALS_DIR", "UV_KEYRING_PROVIDER", "UV_INSECURE_HOST", "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS", "UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "UV_HTTP_RETRIES",
    "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG", "NPM_CONFIG_GLOBALCONFIG", "NPM_CONFIG_CA", "NPM_CONFIG_CAFILE", "NPM_CONFIG_CERT",
    "NPM_CONFIG_KEY", "NPM_CONFIG_PROXY", "NPM_CONFIG_HTTP_PROXY", "NPM_CONFIG_HTTPS_PROXY", "NPM_CONFIG_NOPROXY", "NPM_CONFIG_STRICT_SSL",
    "NPM_CONFIG_FETCH_*", "NPM_CONFIG__AUTH*", "NPM_CONFIG_//*", "NPM_CONFIG_@*",
)  # fmt: skip
# Options for a Java machine or for Maven, of which only those about certificates, proxies and settings stay.
JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "MAVEN_OPTS", "MAVEN_ARGS")
JAVA_KEPT = (
    "-Djavax.net.ssl.", "-Dhttp.", "-Dhttps.", "-Dsocks", "-Djava.net.", "-Dmaven.wagon.", "-Daether.", "--settings=", "--global-settings=",
)  # fmt: skip
# Followed by a file.
JAVA_KEPT_WITH_NEXT = ("-s", "--settings", "-gs", "--global-settings")
# Present on every Debian since 12, without a package. Ansible wants UTF-8; messages are read in English.
LOCALE = {"LC_ALL": "C.UTF-8"}
ADMINISTRATION = ("/usr/local/sbin", "/usr/sbin", "/sbin")
MARK = {"BOOKSTORE_ENVIRONMENT": "declared"}
DIRECT = ("127.0.0.1", "localhost", ".bookstore.test")


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a caller's environment without what would change how programs work, and with our locale."""
    result = {}
    for name, value in environment.items():
        if name in JAVA_OPTIONS:
            value = java_options(value)
            if value:
                result[name] = value
        elif not _matches(name, CLEARED) or _matches(name, KEPT):
            result[name] = value
    return {**result, **LOCALE}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.upper().replace("-", "_"), pattern) for pattern in patterns)


def java_options(text: str) -> str:
    """Return the options about certificates, proxies and settings."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    kept = []
    for number, word in enumerate(words):
        if word.startswith(JAVA_KEPT) or word in JAVA_KEPT_WITH_NEXT or (number and words[number - 1] in JAVA_KEPT_WITH_NEXT):
            kept.append(word)
    return " ".join(map(shlex.quote, kept))


def declared(root: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the Makefile and the tools of the checkout ``root`` run in."""
    result = clean(environment)
    result["HOME"] = home = result.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    state = os.path.join(result.get("XDG_STATE_HOME") or os.path.join(home, ".local/state"), "bookstore-platform")
    folders = [folder for folder in (result.get("PATH") or os.defpath).split(":") if os.path.isabs(folder)]
    own = os.path.join(root, ".venv/bin")
    folders = [own, *(folder for folder in folders if folder != own)]
    # The platform is reached on the loopback address, never through a proxy.
    direct = [entry for entry in (result.get("no_proxy") or result.get("NO_PROXY") or "").split(",") if entry]
    direct += [entry for entry in DIRECT if entry not in direct]
    result.update({
        "PATH": ":".join([*folders, *(folder for folder in ADMINISTRATION if folder not in folders)]),
        # By name, or Ansible passes over the one in a folder that others may write, and in any folder but the current one.
        "ANSIBLE_CONFIG": os.path.join(root, "ansible.cfg"),
        "no_proxy": ",".join(direct), "NO_PROXY": ",".join(direct),
    })
    result.setdefault("BOOKSTORE_PROGRESS_FILE", os.path.join(state, "progress.json"))
    result.setdefault("BOOKSTORE_REPORT_DIR", os.path.join(state, "reports"))
    return {**result, **MARK}


def main(arguments: Sequence[str]) -> None:
    """``environment.py ROOT COMMAND...``: run a command in the declared environment, in this process's place."""
    root, *command = arguments
    if not command:
        sys.exit("usage: tools/environment COMMAND...")
    # What is made here is read by other users: in images, in node containers, in the engine.
    os.umask(0o022)
    environment = declared(root, os.environ)
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        sys.exit(f"BK-296: {command[0]} cannot be run: {error.strerror}; `make venv` and `make venv-dev` install what the tools need")


if __name__ == "__main__":
    main(sys.argv[1:])
