"""Builds a set of images and publishes them to the nodes' registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from . import builders, cache, reach
from .engine import Engine
from .errors import FactoryError
from .ledger import Entry, Ledger, repository
from .progress import Progress
from .recipes import Artifact, Catalogue, Image
from .result import Result

SOURCES = ("packages", "registry", "auto")
REGISTRY_SECONDS = 5.0

class Factory:
    """One run over a catalogue of recipes."""

    def __init__(
        self, catalogue: Catalogue, context: builders.Context, engine: Engine, *,
        source: str, archives: Path | None, jobs: int, progress_file: Path | None, ledger: Ledger | None = None,
        sboms: Path | None = None, further_tags: Mapping[str, Sequence[str]] | None = None,
        upstream_registry: str = "", absent: Sequence[str] = (),
    ) -> None:
        self.catalogue = catalogue
        self.context = context
        self.engine = engine
        self.source = source
        self.archives = archives
        self.jobs = jobs
        self.progress_file = progress_file
        self.ledger = ledger or Ledger(None)
        # Where the SBOM of each image that is made is kept.
        self.sboms = sboms
        # Names to tags that are known only when the run begins.
        self.further_tags = further_tags or {}
        # Offers images under their upstream names; empty: the engine's own default.
        self.upstream_registry = upstream_registry
        # Image to whether a registry offers it; asked once. What nobody had earlier in the same run is not asked for again.
        self._offers = dict.fromkeys(absent, False)
        self._keys: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._replaced: set[str] = set()

    def key(self, name: str) -> str:
        """Return the hash of everything that decides an artifact's or image's content."""
        if name not in self._keys:
            if name in self.catalogue.artifacts:
                value: Any = self._artifact_inputs(self.catalogue.artifacts[name])
            else:
                value = self._image_inputs(self.catalogue.images[name])
            self._keys[name] = cache.digest(value)
        return self._keys[name]

    def _artifact_inputs(self, artifact: Artifact) -> dict[str, Any]:
        value = builders.inputs(artifact, self.context)
        # Made under a strict umask, or of such a checkout, before modes were made normal. An archive is read by nobody else.
        entry = self.context.cache.path("artifacts", artifact.name, cache.digest(value))
        if artifact.builder != "mmdebstrap" and entry.is_dir() and cache.unreadable(entry.iterdir()):
            value["modes"] = "normal"
        return value

    def _image_inputs(self, image: Image) -> dict[str, Any]:
        archive = self._archive(image)
        if archive is not None:
            return {"archive": cache.files_digest(archive)}
        if self._pulls(image):
            return {"upstream": self._upstream(image)}
        needs = ([image.base] if image.base else []) + image.artifact_names
        folder = {} if image.context is None else cache.files_digest(image.folder / image.context)
        value: dict[str, Any] = {"context": folder, "uses": image.uses, "needs": {need: self.key(need) for need in needs}}
        if image.context is not None and cache.unreadable((image.folder / image.context).rglob("*")):
            value["modes"] = "normal"
        return value

    def _archive(self, image: Image) -> Path | None:
        if self.archives is None:
            return None
        return next((self.archives / f"{image.name}{end}" for end in (".tar", ".tar.gz", ".tgz")
                     if (self.archives / f"{image.name}{end}").is_file()), None)

    @property
    def cluster_source(self) -> str:
        """What the cluster is made of: its nodes' image has a recipe, so ``auto`` is packages for it."""
        return "registry" if self.source == "registry" else "packages"

    def _pulls(self, image: Image) -> bool:
        if image.upstream is None or self.source == "packages":
            return False
        return self.source == "registry" or (not image.has_recipe and not self._archive(image) and self._offered(image))

    def _offered(self, image: Image) -> bool:
        """Tell whether a container registry offers an image, or whether it was pulled from one before."""
        if image.name not in self._offers:
            key = cache.digest({"upstream": self._upstream(image)})
            self._offers[image.name] = self._pulled_before(image.name, key) or self.engine.registry_answers(
                self._upstream(image), REGISTRY_SECONDS
            )
        return self._offers[image.name]

    def _pulled_before(self, name: str, key: str) -> bool:
        if self.engine.has(self.engine.reference(name, key)):
            return True
        try:
            return self.engine.published(name, key) is not None
        except FactoryError:
            # The nodes' registry does not run yet.
            return False

    def _upstream(self, image: Image) -> str:
        assert image.upstream is not None
        name = image.upstream.format(**{f"{name}_version": value for name, value in self.context.versions.items()})
        return f"{self.upstream_registry}/{name}" if self.upstream_registry else name

    def sources(self) -> dict[str, str]:
        """Return image to where it comes from: packages, archive, registry or absent. What the cluster does not need is left out."""
        _, skipped = self.plan(list(self.catalogue.images))
        return {
            name: "absent" if name in skipped else self._origin(image)
            for name, image in self.catalogue.images.items()
            if image.only_source in (None, self.cluster_source)
        }

    def plan(self, names: list[str]) -> tuple[list[str], dict[str, str]]:
        """Return what has to exist, needs first, and the images that no source offers, with the reason."""
        skipped = {}
        wanted = []
        for name in names:
            image = self.catalogue.images.get(name)
            if image is not None and image.only_source not in (None, self.cluster_source):
                continue
            if image is None or self._archive(image) or self._pulls(image) or image.has_recipe:
                wanted.append(name)
            else:
                skipped[name] = (
                    f"image {name} cannot be built from package registries; put {name}.tar into the folder "
                    "bookstore_image_archives"
                    + (f", or let bookstore_image_source=auto find {self._upstream(image)} in a registry" if image.upstream else "")
                )
        # What is pulled or loaded needs neither base nor artifacts.
        closed: list[str] = []
        for name in wanted:
            image = self.catalogue.images.get(name)
            ready = image is not None and (self._archive(image) or self._pulls(image))
            closed += [n for n in ([name] if ready else self.catalogue.closure([name])) if n not in closed]
        return closed, skipped

    def run(self, names: list[str], check: bool = False) -> Result:
        """Make every named image or artifact available; with ``check`` only report what would be built, and where the rest is.

        What is not built yet has its name and folder then, too, for these follow from its inputs; only a digest it has not.
        """
        order, skipped = self.plan(names)
        result = Result(skipped=skipped, source=self.cluster_source)
        missing = [name for name in order if not self._present(name)]
        # What is only needed to build something that is there already is not built.
        needed = self._needed(names, set(missing))
        if check:
            result.built = sorted(needed)
            return self._listed(order, result, made=False)
        progress = Progress(self.progress_file, len(needed))
        self._build_all([name for name in order if name in needed], progress)
        result.built, result.seconds = sorted(needed), progress.done
        return self._listed(order, result)

    def survey(self) -> Result:
        """Return every image and artifact that is there already, and what the other images still need; build nothing."""
        names = [*self.catalogue.images, *self.catalogue.artifacts]
        order, skipped = self.plan(names)
        there = [name for name in order if self._present(name)]
        missing = self._needed(list(self.catalogue.images), set(order) - set(there))
        return self._listed(there, Result(
            skipped=skipped, missing=sorted(missing), source=self.cluster_source, sources=self.sources(), origins=self._adopted()
        ))

    def _listed(self, names: list[str], result: Result, made: bool = True) -> Result:
        for name in names:
            if name in self.catalogue.images:
                image, reference = self.catalogue.images[name], self.engine.reference(name, self.key(name))
                if not image.publish:
                    result.images[name] = reference
                    result.origins[reference] = Entry(self._origin(image))
                elif name in self._digests:
                    result.images[name] = f"{reference}@{self._digests[name]}"
                    result.origins[reference] = Entry(self._origin(image), self._digests[name])
            elif not made or self._artifact_path(name).is_dir():
                result.artifacts[name] = str(self._artifact_path(name))
        result.replaced = sorted(self._replaced)
        return result

    def _adopted(self) -> dict[str, Entry]:
        """Return the ledger's entries of before digests were recorded, with the digests of what the engine still has.

        Pods may still run them, the control plane for one.
        """
        published = {repository(self.engine.reference(name, "x")): name for name, image in self.catalogue.images.items() if image.publish}
        found = {}
        for reference, entry in self.ledger.read().items():
            name = published.get(repository(reference))
            if entry.digest is None and name is not None:
                digest = self.engine.published(name, reference.rpartition(":")[2])
                if digest is not None and self.engine.is_same(reference, name, digest):
                    found[reference] = Entry(entry.source, digest)
        return found

    def _origin(self, image: Image) -> str:
        if self._archive(image):
            return "archive"
        return "registry" if self._pulls(image) else "packages"

    def require_images(self, reasons: dict[str, str]) -> None:
        """Raise FactoryError, with the reason why it is needed, for each of these images that no source offers."""
        _, skipped = self.plan(list(reasons))
        if skipped:
            raise FactoryError("\n".join(f"{reasons[name]}: {why}" for name, why in skipped.items()))

    def require_registries(self, names: list[str]) -> None:
        """Raise FactoryError when a package registry that missing builds need does not answer (BK-108)."""
        order, _ = self.plan(names)
        pending = self._needed(names, {name for name in order if not self._present_somewhere(name)})
        artifacts = [artifact for name, artifact in self.catalogue.artifacts.items() if name in pending]
        images = [image for name, image in self.catalogue.images.items() if name in pending]
        if pending:
            reach.require(reach.needed(artifacts, any(image.context for image in images)), self.context, artifacts)

    def _needed(self, names: list[str], missing: set[str]) -> set[str]:
        """Return the missing ones among ``names`` and, for each of those, what its build needs."""
        needed: set[str] = set()

        def visit(name: str) -> None:
            if name not in missing or name in needed:
                return
            needed.add(name)
            image = self.catalogue.images.get(name)
            if image is not None and not self._archive(image) and not self._pulls(image):
                for need in ([image.base] if image.base else []) + image.artifact_names:
                    visit(need)

        for name in names:
            visit(name)
        return needed

    def _artifact_path(self, name: str) -> Path:
        return self.context.cache.path("artifacts", name, self.key(name))

    def _present(self, name: str) -> bool:
        if name in self.catalogue.artifacts:
            return self._artifact_path(name).is_dir()
        image = self.catalogue.images[name]
        if not image.publish:
            return self.engine.has(self.engine.reference(name, self.key(name)))
        return self._published(image)

    def _present_somewhere(self, name: str) -> bool:
        """Like ``_present``, but what the engine holds counts, too: it needs no package registry to be published (again)."""
        if name in self.catalogue.images and self.engine.has(self.engine.reference(name, self.key(name))):
            return True
        try:
            return self._present(name)
        except FactoryError:
            return False

    def _published(self, image: Image) -> bool:
        """Tell whether all tags of an image name what was pushed for the recipe of today.

        Whatever else a tag names is not ours, and is published again. Of what was pushed before digests were recorded, when
        everybody could push, only what the engine's own image proves counts.
        """
        digests = [self.engine.published(image.name, tag) for tag in self._tags(image)]
        reference = self.engine.reference(image.name, self.key(image.name))
        entries = self.ledger.read()
        known = entries.get(reference)
        if known is not None and known.digest is not None:
            # A version's tag may still name what another recipe made of it.
            ever = {entry.digest for other, entry in entries.items() if repository(other) == repository(reference)}
            if digests[0] not in (None, known.digest) or (None not in ever and {*digests} - {None, *ever}):
                self._replaced.add(reference)
        digest = digests[0]
        if digest is None or len(set(digests)) != 1:
            return False
        if known is not None and known.digest is not None:
            ours = digest == known.digest
        else:
            ours = self.engine.is_same(reference, image.name, digest)
        if ours:
            self._digests[image.name] = digest
        return ours

    def _tags(self, image: Image) -> list[str]:
        further = self.further_tags.get(image.name, ())
        return [self.key(image.name), *(tag.format(**self.context.versions) for tag in image.tags), *further]

    def _build_all(self, order: list[str], progress: Progress) -> None:
        """Build ``order`` with ``jobs`` workers; each starts when its needs are there. The first error stops all."""
        waiting = list(order)
        running: dict[Future[None], str] = {}
        unfinished = set(order)
        failure: BaseException | None = None
        with ThreadPoolExecutor(max_workers=self.jobs) as pool:
            while waiting or running:
                for name in list(waiting):
                    if failure is None and len(running) < self.jobs and not self._open_needs(name, unfinished):
                        waiting.remove(name)
                        running[pool.submit(self._build, name, progress)] = name
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    unfinished.discard(running.pop(future))
                    failure = failure or future.exception()
                if failure is not None:
                    waiting.clear()
        if failure is not None:
            raise failure

    def _open_needs(self, name: str, unfinished: set[str]) -> bool:
        image = self.catalogue.images.get(name)
        if image is None or self._archive(image) or self._pulls(image):
            return False
        needs = ([image.base] if image.base else []) + image.artifact_names
        return any(need in unfinished for need in needs)

    def _build(self, name: str, progress: Progress) -> None:
        log = self.context.log(name)
        progress.start(name, log)
        try:
            if name in self.catalogue.artifacts:
                self._build_artifact(self.catalogue.artifacts[name])
            else:
                with self.context.cache.lock(f"image-{name}"):
                    self._build_image(self.catalogue.images[name], log)
        finally:
            progress.finish(name)

    def _build_artifact(self, artifact: Artifact) -> None:
        def build(target: Path) -> None:
            # Under the entry's lock: another run may be writing this log until then.
            self.context.log(artifact.name).unlink(missing_ok=True)
            builders.BUILDERS[artifact.builder](artifact, target, self.context)

        self.context.cache.ensure("artifacts", artifact.name, self.key(artifact.name), build)

    def _build_image(self, image: Image, log: Path) -> None:
        reference = self.engine.reference(image.name, self.key(image.name))
        if not self.engine.has(reference):
            log.unlink(missing_ok=True)
            self._make(image, reference, log)
        if image.publish and not self._published(image):
            digest = self.engine.publish(reference, image.name, self._tags(image), log)
            self._digests[image.name] = digest
            # At once: a run that is interrupted later knows it.
            self.ledger.add({reference: Entry(self._origin(image), digest)})
        if self.sboms is not None:
            self._describe(image, self.sboms)

    def _describe(self, image: Image, folder: Path) -> None:
        """Write the SBOM of an image that the engine holds, unless it is there."""
        # Only runs that build pay for the time that this import takes.
        from .sbom import images as sbom_images
        from .sbom import recipe as sbom_recipe

        if image not in sbom_recipe.shipped(self.catalogue):
            return
        reference = self.engine.reference(image.name, self.key(image.name))
        about = sbom_images.subject(reference, self._origin(image), self._digests.get(image.name))
        sbom_images.ensure(about, image, self.key(image.name), self.catalogue, self.context.project, folder)

    def _make(self, image: Image, reference: str, log: Path) -> None:
        archive = self._archive(image)
        if archive is not None:
            self.engine.load(reference, archive, log)
        elif self._pulls(image):
            self.engine.pull(self._upstream(image), reference, log)
        elif image.rootfs is not None:
            self.engine.import_rootfs(reference, self._artifact_path(image.rootfs) / "rootfs.tar", log)
        else:
            assert image.context is not None
            files = {}
            for source, target in image.uses.items():
                artifact, _, inner = source.partition("/")
                files[target] = self._artifact_path(artifact) / inner if inner else self._artifact_path(artifact)
            base = self.engine.reference(image.base, self.key(image.base)) if image.base else None
            self.engine.build(reference, image.folder / image.context, files, base, log)
