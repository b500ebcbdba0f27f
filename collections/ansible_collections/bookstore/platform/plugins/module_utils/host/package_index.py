# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Makes uv fetch from where the host's pip is configured to fetch; uv itself reads neither pip.conf nor PIP_* variables.

Everything is handed on in the environment, never in arguments: an index's address may hold a password.
``tools/venv`` runs this file, so nothing but the standard library is used.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

# In rising precedence, as pip has it.
SECTIONS = ("global", "install", ":env:")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
OF_PIP = (
    "index-url", "extra-index-url", "no-index", "find-links", "cert", "client-cert", "trusted-host", "proxy", "keyring-provider", "timeout",
    "retries",
)  # fmt: skip
# Options of pip that are a list.
LISTS = {"extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS", "trusted-host": "UV_INSECURE_HOST"}
UV_INDEXES = {"index", "index-url", "extra-index-url", "no-index", "find-links"}
UV_ACCESS = {"native-tls", "system-certs", "allow-insecure-host", "keyring-provider", "http-proxy", "https-proxy"}
SEPARATORS = {"UV_FIND_LINKS": ","}


def pip_settings(python: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings about where packages come from, as its files and variables give them."""
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "config", "list"],
        env=dict(environment), capture_output=True, text=True, check=False,
    )
    return parsed(done.stdout) if done.returncode == 0 else {}


def parsed(listing: str) -> dict[str, str]:
    """Return the settings of what `pip config list` prints."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if equals and section in found and option in OF_PIP:
            found[section][option] = str(ast.literal_eval(value))
    return {option: value for section in SECTIONS for option, value in found[section].items() if value.strip()}


def uv_configuration(environment: Mapping[str, str]) -> tuple[Path | None, set[str]]:
    """Return uv's own configuration, if it says how to reach registries, and the names of its settings."""
    home = Path(environment.get("HOME") or Path.home())
    candidates = [Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "uv/uv.toml", Path("/etc/uv/uv.toml")]
    if environment.get("UV_CONFIG_FILE"):
        candidates = [Path(environment["UV_CONFIG_FILE"])]
    for file in candidates:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        names = set(content) | set(content.get("pip", {}))
        if names & (UV_INDEXES | UV_ACCESS):
            return file, names
    return None, set()


def for_uv(pip: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make uv do as pip is set; what uv is told itself counts more."""
    own, named = uv_configuration(environment)
    result: dict[str, str] = {"UV_CONFIG_FILE": str(own)} if own else {"UV_NO_CONFIG": "1"}
    variables = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    told = bool(named & UV_INDEXES) or any(environment.get(name) for name in variables)
    if not told:
        if "index-url" in pip:
            result["UV_DEFAULT_INDEX"] = pip["index-url"].strip()
        if _true(pip.get("no-index")):
            result["UV_NO_INDEX"] = "1"
        for option, variable in LISTS.items():
            if option in pip and not environment.get(variable):
                result[variable] = SEPARATORS.get(variable, " ").join(pip[option].split())
        if "UV_INDEX" in result:
            # As pip does: the best version of all indexes. The lock files' hashes say what may be installed.
            result["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if pip.get("keyring-provider") in ("auto", "subprocess"):
        result["UV_KEYRING_PROVIDER"] = "subprocess"
    if "timeout" in pip:
        result["UV_HTTP_TIMEOUT"] = pip["timeout"]
    if not environment.get("SSL_CERT_FILE"):
        bundle = pip.get("cert") or next((environment[name] for name in BUNDLES if environment.get(name)), "")
        if bundle:
            result["SSL_CERT_FILE"] = bundle
    if "client-cert" in pip:
        result["SSL_CLIENT_CERT"] = pip["client-cert"]
    if "proxy" in pip and not any(environment.get(name) or environment.get(name.upper()) for name in PROXIES):
        address = pip["proxy"] if "://" in pip["proxy"] else f"http://{pip['proxy']}"
        result |= {"HTTP_PROXY": address, "HTTPS_PROXY": address}
    return {name: value for name, value in result.items() if name == "UV_CONFIG_FILE" or not environment.get(name)}


def for_pip(pip: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings as variables, and none of its files: they may also say `user`, `target` or `prefix`."""
    found = {f"PIP_{option.upper().replace('-', '_')}": " ".join(value.split()) for option, value in pip.items()}
    return {**found, "PIP_CONFIG_FILE": os.devnull}


def _true(value: str | None) -> bool:
    return value is not None and value.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def main(command: Sequence[str]) -> None:
    """``package_index.py COMMAND...``: run pip or uv with these settings, in this process's place."""
    pip = pip_settings(sys.executable, os.environ)
    os.execvpe(command[0], list(command), {**os.environ, **for_uv(pip, os.environ), **for_pip(pip)})


if __name__ == "__main__":
    main(sys.argv[1:])
