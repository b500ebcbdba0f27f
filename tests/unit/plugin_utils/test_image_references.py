"""References of images in manifests: with digest, or an error that says what to do."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.filter.images import pinned_image, registry_address
from ansible_collections.bookstore.platform.plugins.plugin_utils import image_references

DIGEST = f"sha256:{'0' * 64}"
GOOD = f"bookstore.local/ecom:0123456789abcdef@{DIGEST}"


def test_a_pinned_image_is_handed_on() -> None:
    assert pinned_image({"ecom": GOOD}, "ecom") == GOOD


@pytest.mark.parametrize("image", [
    "bookstore.local/ecom:1", f"bookstore.local/ecom@{DIGEST}", "bookstore.local/ecom", f"bookstore.local/ecom:1@{DIGEST[:-1]}",
    "bookstore.local/ecom:1@digest", f"bookstore.local/ecom:1@{DIGEST}\n", "",
])  # fmt: skip
@pytest.mark.parametrize("rendering", [False, True])
def test_one_without_digest_is_refused(image: str, rendering: bool) -> None:
    with pytest.raises(AnsibleFilterError, match=r"(?s)BK-404: bookstore_images\.ecom=.* has no digest"):
        pinned_image({"ecom": image}, "ecom", rendering=rendering)


def test_an_unknown_one_is_refused_unless_nothing_is_applied() -> None:
    with pytest.raises(AnsibleFilterError, match=r"BK-404: .* no image ecom: run make up without --tags"):
        pinned_image({}, "ecom")
    assert image_references.is_pinned(pinned_image({}, "ecom", rendering=True))


def test_the_registrys_address() -> None:
    assert registry_address("172.30.0.0/16") == "172.30.255.250"
    with pytest.raises(AnsibleFilterError, match="BK-402: "):
        registry_address("172.30.0.0/30")
    with pytest.raises(AnsibleFilterError, match="BK-402: "):
        registry_address("no range")
