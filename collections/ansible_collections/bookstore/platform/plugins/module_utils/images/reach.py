"""Asks the package registries that pending builds need, so that an unreachable one stops a run before its first build.

Each is asked by its own ordinary client, for something small that its caches cannot answer.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..base.failures import without_id
from . import builders, commands, node
from .errors import FactoryError
from .recipes import Artifact

SECONDS = 60.0
# Maven's client first fetches a dozen plugins, which the builds need, too, and stay in its cache.
MAVEN_SECONDS = 240.0
MAVEN_SMALL = "org.hamcrest:hamcrest-parent:1.3:pom"
# Which registry each builder fetches from; a compiler comes as a wheel.
_OF_BUILDER = {
    "go": ("Python packages", "Go modules"),
    "go_module_files": ("Python packages", "Go modules"),
    "maven": ("Maven artifacts",),
    "mmdebstrap": ("Debian packages",),
    "node": ("Python packages", "npm packages"),
    "python_target": ("Python packages",),
    "python_wheel_files": ("Python packages",),
    "sources": (),
}
# Context, an empty folder, and the pending artifacts; returns a command and its environment.
Question = Callable[[builders.Context, Path, Sequence[Artifact]], tuple[list[str], dict[str, str]]]


def _debian(_context: builders.Context, folder: Path, _pending: Sequence[Artifact]) -> tuple[list[str], dict[str, str]]:
    mirror = builders.debian_mirror()
    if not mirror:
        return ["apt-get", "check"], {}
    options = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15"]
    url = f"{mirror[0].rstrip('/')}/dists/stable/InRelease"
    return ["/usr/lib/apt/apt-helper", *options, "download-file", url, str(folder / "InRelease")], {}


def _go(context: builders.Context, folder: Path, _pending: Sequence[Artifact]) -> tuple[list[str], dict[str, str]]:
    return ["go", "-C", str(folder), "list", "-m", "golang.org/x/mod@latest"], builders.go_env(context)


def _maven(context: builders.Context, folder: Path, _pending: Sequence[Artifact]) -> tuple[list[str], dict[str, str]]:
    builders.require_maven("maven", context)
    group, name, *_ = MAVEN_SMALL.split(":")
    # What was fetched the last time would be no answer.
    shutil.rmtree(context.cache.root / "maven" / group.replace(".", "/") / name, ignore_errors=True)
    return [*builders.maven(context), builders.MAVEN_COPY, f"-Dartifact={MAVEN_SMALL}", f"-DoutputDirectory={folder}"], {}


def _npm(context: builders.Context, folder: Path, pending: Sequence[Artifact]) -> tuple[list[str], dict[str, str]]:
    version = next(artifact.spec["node"] for artifact in pending if artifact.builder == "node")
    return node.question(builders.node_toolchain(context, version), folder)


def _python(context: builders.Context, folder: Path, _pending: Sequence[Artifact]) -> tuple[list[str], dict[str, str]]:
    wanted = folder / "wanted.in"
    wanted.write_text("pip\n", encoding="ascii")
    command = [builders.uv(), "pip", "compile", "--quiet", "--no-cache", "--no-header", str(wanted)]
    return command, {**context.uv_env(), "UV_HTTP_TIMEOUT": "15"}


_QUESTIONS: dict[str, Question] = {
    "Debian packages": _debian, "Go modules": _go, "Maven artifacts": _maven, "npm packages": _npm, "Python packages": _python,
}


def needed(artifacts: Iterable[Artifact], builds_images: bool) -> set[str]:
    """Return the registries that these artifacts are fetched from; images install Debian packages as they are built."""
    found = {registry for artifact in artifacts for registry in _OF_BUILDER[artifact.builder]}
    return found | ({"Debian packages"} if builds_images else set())


def require(registries: set[str], context: builders.Context, pending: Sequence[Artifact] = ()) -> None:
    """Raise FactoryError that names every registry that does not answer, with its client's own words."""
    asked = sorted(registries & set(_QUESTIONS))
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda registry: _ask(registry, context, pending), asked))
    silent = [answer for answer in answers if answer]
    if silent:
        raise FactoryError("\n".join(silent))


def _ask(registry: str, context: builders.Context, pending: Sequence[Artifact]) -> str | None:
    with tempfile.TemporaryDirectory(prefix="bookstore-reach-") as folder:
        try:
            command, env = _QUESTIONS[registry](context, Path(folder), pending)
        except FactoryError as error:
            # Its client is a wheel or a package that could not be had; those registries have an answer of their own.
            return f"BK-108: the registry for {registry} could not be asked: {without_id(error)}"
        code, output = commands.capture(command, env=env, timeout=MAVEN_SECONDS if registry == "Maven artifacts" else SECONDS)
    if code == 0:
        return None
    said = _telling(output) or "no output"
    return (
        f"BK-108: the registry for {registry} does not answer: {Path(command[0]).name} said: {said}; "
        "nothing was built. Check the network and the client's own configuration, or give finished images by bookstore_image_archives"
    )


def _telling(output: str) -> str:
    """Return the lines that name the cause: npm's last ones only name its log, Maven's its manual, the other clients' are it."""
    lines = [line.strip() for line in output.splitlines()]
    requests = [line for line in lines if line.startswith("npm error") and (" request to " in line or " GET " in line)]
    errors = [line for line in lines if line.startswith("[ERROR] ") and len(line) > len("[ERROR] ")]
    return " ".join(requests[:1] or errors[:1] or lines[-2:])
