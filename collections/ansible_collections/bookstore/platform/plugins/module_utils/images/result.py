"""What a run of the image factory gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ledger import Entry


@dataclass
class Result:
    """``images`` maps a name to the reference that nodes pull, with its digest; ``artifacts`` to a folder on the host.

    ``replaced``: references whose tag named something else in the registry than was pushed.
    """

    images: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    # What the cluster is made of: packages or registry.
    source: str = "packages"
    # Image to where it comes from: packages, archive, registry or absent.
    sources: dict[str, str] = field(default_factory=dict)
    # Reference without digest to where the image came from, whatever the source of the run, and its digest.
    origins: dict[str, Entry] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
