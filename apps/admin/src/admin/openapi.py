"""``python -m admin.openapi [public]``: print a listener's OpenAPI document."""

from admin.routes import public_router
from bookstore_common.openapi import Documents

document = Documents("Admin API", {"public": public_router})

if __name__ == "__main__":
    document.main("admin")
