"""``python -m ecom.openapi [public|internal]``: print a listener's OpenAPI document."""

from bookstore_common.openapi import Documents
from ecom.routes import internal_router, public_router

document = Documents("E-Commerce API", {"public": public_router, "internal": internal_router})

if __name__ == "__main__":
    document.main("ecom")
