"""Writes an image's packages as a CycloneDX document, and reads from one what `make audit` asks for."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from ..errors import FactoryError
from .packages import UNKNOWN, Package

# Part of each document: raise it when the same image gives another one, and all are written anew.
FORMAT = "2"
NAMESPACE = uuid.UUID("6f0c8f5e-7a0b-4b53-9d7a-0d7a0f3c1f52")


@dataclass(frozen=True)
class Subject:
    """The image that a document describes. ``digest``: what the nodes' registry calls it, where it is there."""

    reference: str
    image_id: str
    created: datetime
    origin: str
    digest: str | None = None

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return self.reference.partition("@")[0].rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The reference's tag."""
        return self.reference.partition("@")[0].rpartition(":")[2]

    @property
    def properties(self) -> dict[str, str]:
        """What tells one state of a document from another."""
        found = {"bookstore:image:id": self.image_id, "bookstore:image:reference": self.reference,
                 "bookstore:image:source": self.origin, "bookstore:sbom:format": FORMAT}
        return {**found, "bookstore:image:digest": self.digest} if self.digest else found


def write(subject: Subject, packages: Iterable[Package]) -> str:
    """Return the document; the same image gives the same text."""
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, f"{subject.reference} {subject.image_id} {FORMAT}"))
    bom.metadata.timestamp = subject.created
    digest = subject.digest or subject.image_id
    root = Component(
        type=ComponentType.CONTAINER, name=subject.repository, version=subject.tag, bom_ref="image",
        purl=PackageURL("oci", None, subject.repository.rpartition("/")[2], digest,
                        {"repository_url": subject.repository, "tag": subject.tag}),
        properties=[Property(name=name, value=value) for name, value in subject.properties.items()],
    )
    bom.metadata.component = root
    components = [_component(package) for package in packages]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(root, components)
    made = json.loads(JsonV1Dot6(bom).output_as_string())
    for component in made.get("components", []):
        # The library gives them in the order of a set.
        component.get("evidence", {}).get("occurrences", []).sort(key=lambda place: place["location"])
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _component(package: Package) -> Component:
    purl = package.purl
    unknown = package.kind == UNKNOWN
    place = "".join(sorted(package.places)[:1]) if unknown else ""
    return Component(
        type=ComponentType.FILE if unknown else ComponentType.LIBRARY,
        group=package.group or None, name=package.name, version=package.version or None,
        purl=None if unknown else purl, bom_ref=f"file:{place}" if unknown else purl.to_string(),
        hashes=[HashType(alg=HashAlgorithm(name), content=value) for name, value in package.hashes],
        properties=[Property(name=name, value=value) for name, value in package.notes],
        evidence=ComponentEvidence(occurrences=[Occurrence(location=place) for place in package.places]),
    )


def require_valid(text: str, reference: str) -> None:
    """Raise FactoryError (BK-412) when a document does not fit CycloneDX's own schema."""
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise FactoryError(f"BK-412: the SBOM of {reference} does not fit the schema of CycloneDX 1.6: {str(fault)[:400]}; report it")


@dataclass(frozen=True)
class Reading:
    """What a document says: the image's properties, and its packages."""

    properties: Mapping[str, str]
    packages: list[Package]

    @property
    def reference(self) -> str:
        """The image's reference."""
        return self.properties["bookstore:image:reference"]


def read(text: str, name: str) -> Reading:
    """Return what a document of ours says; FactoryError (BK-413) when it is none."""
    try:
        document: dict[str, Any] = json.loads(text)
        properties = _properties(document["metadata"]["component"])
        if "bookstore:image:reference" not in properties:
            raise KeyError("bookstore:image:reference")
        packages = [_package(component) for component in document.get("components", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactoryError(f"BK-413: {name} is no SBOM that `make sbom` wrote ({type(error).__name__}: {error}); run: make sbom") from error
    return Reading(properties, packages)


def _properties(component: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in component.get("properties", [])}


def _package(component: Mapping[str, Any]) -> Package:
    purl = component.get("purl")
    url = PackageURL.from_string(purl) if purl else None
    qualifiers = url.qualifiers if url else {}
    assert isinstance(qualifiers, dict)
    places = [entry["location"] for entry in component.get("evidence", {}).get("occurrences", [])]
    notes = [(entry["name"], entry.get("value", "")) for entry in component.get("properties", [])]
    return Package(
        url.type if url else UNKNOWN, component["name"], component.get("version", ""), component.get("group", ""),
        tuple(sorted(qualifiers.items())), notes=frozenset(notes), places=frozenset(places),
    )
