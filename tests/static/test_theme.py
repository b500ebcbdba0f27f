"""The sign-in pages and the shop cannot drift apart: palette, font, icon and words are the same in both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import theme

RECIPES = "roles/keycloak/images"
HOME = "components/keycloak-theme"
LOGIN = f"{HOME}/themes/bookstore/login"
SHEET = f"{LOGIN}/resources/css/bookstore.css"
SHOP = "apps/storefront"
FONTS = "@fontsource-variable/"


@pytest.fixture
def brought(root: Path) -> dict[str, str]:
    """Folders of the theme that artifacts fill when the image is built."""
    listing = yaml.safe_load((root / RECIPES / "recipes.yml").read_text(encoding="utf-8"))
    (image,) = [image for image in listing["images"] if image["name"] == "keycloak"]
    return {str(root / HOME / place): source for source, place in image["uses"].items() if place.startswith("themes/")}


def test_the_palette_is_the_storefronts(committed: dict[str, str], no_faults: list[str]) -> None:
    no_faults += theme.palette_faults(committed[SHEET], committed[f"{SHOP}/src/styles/base.css"])


def test_another_palette_is_found() -> None:
    shop = ":root {\n  --ink: light-dark(#241d17, #f1e8da);\n  --gold: #f0c763;\n}\n"
    assert theme.palette_faults(f"{shop}#kc-header {{ color: var(--ink); }}\n", shop) == []
    assert len(theme.palette_faults(shop.replace("241d17", "241d18"), shop)) == 1
    assert len(theme.palette_faults(shop.replace("  --gold: #f0c763;\n", ""), shop)) == 1
    assert len(theme.palette_faults(shop, shop.replace("  --gold: #f0c763;\n", ""))) == 1
    assert len(theme.palette_faults(f"{shop}a {{ color: #fff; border-color: rgb(0 0 0 / 20%); }}\n", shop)) == 2
    assert theme.palette_faults("", "") == ["a style sheet has no :root"]


def test_the_theme_has_all_that_it_shows(committed: dict[str, str], root: Path, brought: dict[str, str], no_faults: list[str]) -> None:
    no_faults += theme.address_faults(committed[SHEET], (root / SHEET).parent, brought)
    assert list(brought.values()) == ["keycloak-fonts"]


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img/eye.svg").touch()
    (tmp_path / "css").mkdir()

    def faults(css: str) -> list[str]:
        return theme.address_faults(css, tmp_path / "css", {str(tmp_path / "fonts"): "font"})

    assert faults('a { mask: url("../img/eye.svg"); } @font-face { src: url(../fonts/a.woff2); }') == []
    assert len(faults('a { mask: url("../img/nose.svg"); }')) == 1
    assert len(faults("a { mask: url(https://elsewhere.test/eye.svg) } b { mask: url(data:,) } c { mask: url('//elsewhere.test/a') }")) == 3
    assert len(faults('@import "more.css";')) == 1


def test_the_fonts_are_the_storefronts(committed: dict[str, str]) -> None:
    def pinned(folder: str) -> dict[str, tuple[str, Any]]:
        manifest, lock = (json.loads(committed[f"{folder}/{name}"]) for name in ("package.json", "package-lock.json"))
        fonts = {name: version for name, version in manifest["dependencies"].items() if name.startswith(FONTS)}
        return {name: (version, lock["packages"][f"node_modules/{name}"]) for name, version in fonts.items()}

    def faces(css: str) -> list[str]:
        return [re.sub(r'url\("[^"]*/', 'url("', face) for face in re.findall(r"@font-face \{.*?\}", css, re.DOTALL)]

    assert pinned(f"{HOME}/fonts") == pinned(SHOP)
    shop = faces(committed[f"{SHOP}/src/styles/base.css"])
    assert shop
    assert faces(committed[SHEET]) == shop


def test_node_is_the_one_that_builds_the_storefront(root: Path) -> None:
    files = [root / f"roles/{role}/images/recipes.yml" for role in ("keycloak", "storefront")]
    artifacts = [artifact for file in files for artifact in yaml.safe_load(file.read_text(encoding="utf-8"))["artifacts"]]
    versions = [artifact["node"] for artifact in artifacts if artifact["builder"] == "node"]
    assert (len(versions), len(set(versions))) == (2, 1)


def test_icon_and_words_are_the_storefronts(committed: dict[str, str]) -> None:
    assert committed[f"{LOGIN}/resources/img/icon.svg"] == committed[f"{SHOP}/public/icon.svg"]
    words = dict(line.split("=", 1) for line in committed[f"{LOGIN}/messages/messages_en.properties"].splitlines() if "=" in line)
    assert words["motto"].encode("ascii").decode("unicode_escape") in committed[f"{SHOP}/src/app/layout.tsx"]


def test_the_realm_has_the_theme_and_the_shops_name(committed: dict[str, str]) -> None:
    settings = yaml.safe_load(committed["roles/keycloak/vars/main/realm.yml"])["__keycloak_realm_settings"]
    assert f"{HOME}/themes/{settings['loginTheme']}/login/theme.properties" in committed
    assert f"{settings['displayName']} \u00b7" in committed[f"{SHOP}/src/app/layout.tsx"]


def test_what_browsers_keep_has_a_version(committed: dict[str, str]) -> None:
    """The image build replaces the word by a hash: the address of a changed file is another one."""
    told = dict(line.split("=", 1) for line in committed[f"{LOGIN}/theme.properties"].splitlines() if "=" in line and line[0] != "#")
    recipe = committed[f"{RECIPES}/keycloak/Containerfile"]
    for kind in ("styles", "scripts"):
        file, _, version = told[kind].partition("?")
        assert version == "version"
        assert f" {file}" in recipe
        assert f"{LOGIN}/resources/{file}" in committed
