"""Secrets whose values are generated once, in memory, and copied to where they are used."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Any

# 32 characters of 62 carry about 190 bits; letters and digits need no quoting anywhere.
LENGTH = 32
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def generate(length: int = LENGTH) -> str:
    """Return a random value of letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


@dataclass(frozen=True)
class Copy:
    """A Secret that holds some of the values under names of its own, and constants."""

    namespace: str
    name: str
    keys: dict[str, str]
    constants: dict[str, str]


def decode(secret: dict[str, Any] | None) -> dict[str, str]:
    """Return the values of a Secret object, none when it does not exist."""
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def complete(current: dict[str, str], keys: list[str], rotate: list[str]) -> dict[str, str]:
    """Return the values with missing ones generated and those in ``rotate`` made anew.

    ValueError when a name in ``rotate`` is not among ``keys``.
    """
    unknown = sorted(set(rotate) - set(keys))
    if unknown:
        raise ValueError(f"rotate={unknown[0]}: there is no such key; write one of {', '.join(keys)}")
    return {**current, **{key: generate() for key in keys if key not in current or key in rotate}}


def copied(values: dict[str, str], copy: Copy) -> dict[str, str]:
    """Return what a copy must hold."""
    return {**copy.constants, **{target: values[source] for target, source in copy.keys.items()}}


def masked(text: str, values: dict[str, str]) -> str:
    """Return a message without any generated value that it may quote, plain or encoded, so that it can be shown."""
    for value in values.values():
        # Shorter ones are constants, such as a user's name.
        if len(value) >= LENGTH:
            for form in (value, base64.b64encode(value.encode()).decode()):
                text = text.replace(form, "***")
    return text


def refuse_duplicates(names: list[str]) -> None:
    """Raise ValueError when two Secrets of a call are the same object: the second would replace the first each time."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"secret={twice[0]} is described twice; give each Secret and each copy a name of its own")


def manifest(namespace: str, name: str, values: dict[str, str]) -> dict[str, Any]:
    """Return a Secret object."""
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app.kubernetes.io/part-of": "bookstore"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())},
    }
