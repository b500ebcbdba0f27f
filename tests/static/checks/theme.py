"""The theme of the sign-in pages repeats what the storefront has, for neither is part of the other's image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

ROOT_BLOCK = re.compile(r"^:root \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
COLOUR = re.compile(r"(?<![\w-])#[0-9a-fA-F]{3,8}\b(?![^;{}]*\{)|\b(?:rgb|hsl|hwb|lab|lch|oklab|oklch|color)a?\([^)]*\)")
ADDRESS = re.compile(r"url\(\s*[\"']?([^\"')]+)")


def declarations(css: str) -> dict[str, str]:
    """What the style sheet's ``:root`` declares; nothing where there is none."""
    block = ROOT_BLOCK.search(css)
    return dict(re.findall(r"^\s*([\w-]+): (.+);$", block.group(1), re.MULTILINE)) if block else {}


def palette_faults(theme: str, shop: str) -> list[str]:
    """Return where the declarations of two ``:root`` differ, and colours that are written elsewhere in the theme."""
    ours, theirs = declarations(theme), declarations(shop)
    faults = [] if ours and theirs else ["a style sheet has no :root"]
    faults += [
        f"{name}: {ours.get(name, 'missing')} in the theme, {theirs.get(name, 'missing')} in the storefront"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    return faults + [f"{found.group()}: a colour outside of :root" for found in COLOUR.finditer(ROOT_BLOCK.sub("", theme))]


def address_faults(css: str, folder: Path, brought: Mapping[str, str]) -> list[str]:
    """Return addresses in the style sheet of ``folder`` that are no file of the theme.

    ``brought``: what the image adds, folder of the theme to the source of its files.
    """
    faults = ["@import: write one style sheet"] if "@import" in css else []
    for address in ADDRESS.findall(css):
        if re.match(r"[a-z]+:|/", address):
            faults.append(f"{address}: must be relative, and a file of the theme")
            continue
        path = (folder / address).resolve()
        if not path.is_file() and str(path.parent) not in {str(Path(place).resolve()) for place in brought}:
            faults.append(f"{address}: no such file in the theme")
    return faults
