"""``python -m inventory.openapi [public|internal]``: print a listener's OpenAPI document."""

from bookstore_common.openapi import Documents
from inventory.routes import internal_router, public_router

document = Documents("Inventory API", {"public": public_router, "internal": internal_router})

if __name__ == "__main__":
    document.main("inventory")
