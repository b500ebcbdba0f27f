"""The container engine, through its command line client, and the nodes' registry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base import loopback
from . import cache, commands, push
from .errors import FactoryError

# The classic builder is what every Debian release of the engine has.
BUILD_ENV = {"DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}
# Arguments that every build knows; they are no part of an image.
PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "no_proxy"})
MANIFEST_TYPES = ", ".join((
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
))
# What the client prints at the end of a push.
PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64}) size: ")


class Engine:
    """Image operations of one engine.

    ``push_address`` is the registry as the engine reaches it, ``registry`` its container; in ``folder`` programs can be run.
    """

    def __init__(self, repository: str, push_address: str, registry: str, folder: Path) -> None:
        self.repository = repository
        self.push_address = push_address
        self.registry = registry
        self.folder = folder

    def reference(self, name: str, tag: str) -> str:
        """Return the name under which the nodes pull an image."""
        return f"{self.repository}/{name}:{tag}"

    def has(self, reference: str) -> bool:
        """Tell whether the engine holds an image."""
        return commands.capture(["docker", "image", "inspect", "--format", "{{.Id}}", reference])[0] == 0

    def published(self, name: str, tag: str) -> str | None:
        """Return the digest of an image in the nodes' registry, or None when it is not there."""
        try:
            headers = loopback.head(self._manifest(name, tag), {"Accept": MANIFEST_TYPES})
        except OSError as error:
            raise FactoryError(f"BK-122: the nodes' registry does not answer on {self.push_address}: {error}") from error
        return None if headers is None else headers["docker-content-digest"]

    def _manifest(self, name: str, version: str) -> str:
        return f"http://{self.push_address}/v2/{name}/manifests/{version}"

    def is_same(self, reference: str, name: str, digest: str) -> bool:
        """Tell whether what the registry has by ``digest`` is the engine's own image; its layers are part of the image's id."""
        code, identifier = commands.capture(["docker", "image", "inspect", "--format", "{{.Id}}", reference])
        if code != 0:
            return False
        manifest = loopback.get(self._manifest(name, digest), {"Accept": MANIFEST_TYPES})
        if manifest is None or f"sha256:{hashlib.sha256(manifest).hexdigest()}" != digest:
            return False
        # Engines that keep images as containerd does name them by the manifest.
        return identifier.strip() in (digest, (json.loads(manifest).get("config") or {}).get("digest"))

    def build(self, reference: str, folder: Path, files: Mapping[str, Path], base: str | None, log: Path) -> None:
        """Build a Containerfile whose context is ``folder`` plus ``files`` (path in the context -> source)."""
        with tempfile.TemporaryDirectory(prefix="bookstore-image-") as temporary:
            context = Path(temporary)
            shutil.copytree(folder, context, dirs_exist_ok=True)
            for name, source in files.items():
                _link_tree(source, context / name)
            cache.normalize_modes(context)
            command = ["docker", "build", "--network", "host", "--tag", reference, "--file", str(context / "Containerfile")]
            if base is not None:
                command += ["--build-arg", f"BASE={base}"]
            # By name only: the client takes the value, which may hold a password, from the environment.
            for name in sorted(name for name in os.environ if name.lower() in PROXY_VARIABLES):
                command += ["--build-arg", name]
            commands.run(reference, [*command, str(context)], log, env=BUILD_ENV)

    def import_rootfs(self, reference: str, tar: Path, log: Path) -> None:
        """Make an image of one layer out of a root file system."""
        commands.run(reference, ["docker", "import", str(tar), reference], log)

    def load(self, reference: str, archive: Path, log: Path) -> None:
        """Load the one image of an archive and name it ``reference``."""
        code, output = commands.capture(["docker", "load", "--input", str(archive)], timeout=600)
        loaded = [line.split(": ", 1)[1] for line in output.splitlines() if line.startswith("Loaded image")]
        if code != 0 or len(loaded) != 1:
            reason = output.splitlines()[-1] if output else "no output"
            raise FactoryError(
                f"BK-112: bookstore_image_archives: {archive} is not an archive of exactly one image ({reason}); "
                "write it again with `docker save NAME`, or remove it to use another source"
            )
        commands.run(reference, ["docker", "tag", loaded[0], reference], log)

    def pull(self, upstream: str, reference: str, log: Path) -> None:
        """Pull an upstream image and name it ``reference``."""
        before = self.has(upstream)
        commands.run(reference, ["docker", "pull", upstream], log)
        commands.run(reference, ["docker", "tag", upstream, reference], log)
        if not before:
            # By one name only, so that whoever removes the platform's images finds it.
            commands.run(reference, ["docker", "rmi", upstream], log)

    def publish(self, reference: str, name: str, tags: Sequence[str], log: Path) -> str:
        """Push an image of the engine to the nodes' registry, which takes only the layers that it lacks; return its digest there.

        FactoryError when the registry then answers another one than was pushed.
        """
        digests = set()
        with push.allowed(self.registry, self.push_address, self.folder) as credentials:
            for tag in tags:
                target = f"{self.push_address}/{name}:{tag}"
                commands.run(reference, ["docker", "tag", reference, target], log)
                output = commands.run(reference, ["docker", "push", target], log, env=credentials)
                commands.run(reference, ["docker", "rmi", target], log)
                pushed = PUSHED.search(output)
                answered = self.published(name, tag)
                if pushed is None or pushed.group(1) != answered:
                    raise FactoryError(
                        f"BK-401: {reference}: {pushed.group(1) if pushed else 'something without a digest'} was pushed, but the nodes' "
                        f"registry has {answered or 'nothing'} as {name}:{tag}; nothing of it is run. Find out who else writes to it, "
                        "then run make up", str(log)
                    )
                digests.add(pushed.group(1))
        if len(digests) != 1:
            raise FactoryError(f"BK-401: {reference}: its tags {', '.join(tags)} got {len(digests)} digests; run make up again", str(log))
        return digests.pop()

    @staticmethod
    def registry_answers(upstream: str, seconds: float) -> bool:
        """Tell whether a registry offers an upstream image and says so within ``seconds``."""
        # The engine itself pulls from this host's own loopback address without TLS; this question of the client has to be told.
        insecure = ["--insecure"] if upstream.startswith(("127.0.0.1:", "localhost:")) else []
        return commands.capture(["docker", "manifest", "inspect", *insecure, upstream], timeout=seconds)[0] == 0


def _link_tree(source: Path, target: Path) -> None:
    """Copy a file or folder by hard links where the file system allows it and the modes are right, for a link has its file's."""
    target.parent.mkdir(parents=True, exist_ok=True)

    def link(origin: str, destination: str) -> str:
        path = Path(origin)
        if stat.S_IMODE(path.stat().st_mode) == cache.normal_mode(path):
            with contextlib.suppress(OSError):  # another file system
                os.link(origin, destination)
                return destination
        shutil.copy2(origin, destination)
        return destination

    if source.is_dir():
        shutil.copytree(source, target, copy_function=link, symlinks=True, dirs_exist_ok=True)
    else:
        link(str(source), str(target))
