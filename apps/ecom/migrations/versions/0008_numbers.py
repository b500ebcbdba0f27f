"""Numbers, times and texts of the captured tables stay inside of what the pipeline carries.

``price > 0`` let NaN in: PostgreSQL sorts it above every number. Scale and infinity are the type's business:
numeric(10,2) rounds and refuses infinity. Rows from before that break a rule are mended, and named in the log:

- a book without a usable price leaves the shelf with the price it was last sold at, else the lowest there is;
- a sold line without a usable price gets its book's price, an order without a usable total the sum of its lines;
- texts are cut to their limit, a cover's address beyond its limit is dropped, impossible times become the present.

Revision ID: 0008
Revises: 0007
"""

from bookstore_common.constraints import (
    Tightening,
    heartbeat_tightening,
    keep,
    loosen,
    outbox_tightening,
    sane_time,
    tighten,
)

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_PRICE = "{} BETWEEN 0.01 AND 99999999.99"
_TOTAL = "total BETWEEN 0 AND 9999999999.99"
_QUANTITY = "quantity BETWEEN 1 AND 1000000"
# Analytics has it in a numeric(12,2); 99 copies, the most that a cart holds, fit at any price.
_LINE_TOTAL = "quantity * price_at_purchase <= 9999999999.99"
_DESCRIPTION = "char_length(description) <= 20000"
_COVER = "char_length(cover_url) <= 2000"
_SHIPPING = "octet_length(shipping::text) <= 16384"
_LAST_SOLD = (
    "(SELECT i.price_at_purchase FROM order_items i JOIN orders o ON o.id = i.order_id WHERE i.book_id = books.id"
    " AND i.price_at_purchase BETWEEN 0.01 AND 99999999.99 ORDER BY o.created_at DESC LIMIT 1)"
)
_BOOKS_PRICE = "(SELECT b.price FROM books b WHERE b.id = order_items.book_id)"
_SUM = (
    "(SELECT least(sum(i.quantity * i.price_at_purchase), 9999999999.99) FROM order_items i"
    " WHERE i.order_id = orders.id)"
)
_ADDRESS = (
    "(SELECT jsonb_object_agg(key, left(value, 255)) FROM jsonb_each_text(CASE jsonb_typeof(shipping) WHEN 'object'"
    " THEN shipping ELSE '{}' END) WHERE key IN ('name', 'line1', 'line2', 'city', 'postal_code', 'country'))"
)


def _times(*columns: str) -> dict[str, str]:
    return {column: keep(column, sane_time(column), "now()") for column in columns}


_BOOKS = Tightening(
    "books",
    "id::text",
    {
        "books_price_check": _PRICE.format("price"),
        "books_description_check": _DESCRIPTION,
        "books_cover_url_check": _COVER,
        "books_created_at_check": sane_time("created_at"),
        "books_updated_at_check": sane_time("updated_at"),
    },
    {
        "price": keep("price", _PRICE.format("price"), f"coalesce({_LAST_SOLD}, 0.01)"),
        "active": f"active AND {_PRICE.format('price')}",
        "description": keep("description", _DESCRIPTION, "left(description, 20000)"),
        "cover_url": keep("cover_url", _COVER, "NULL"),
        **_times("created_at"),  # the trigger sets updated_at
    },
)
_ITEMS = Tightening(
    "order_items",
    "id::text",
    {
        "order_items_price_at_purchase_check": _PRICE.format("price_at_purchase"),
        "order_items_quantity_check": _QUANTITY,
        "order_items_line_total_check": _LINE_TOTAL,
    },
    {
        "price_at_purchase": keep(
            "price_at_purchase", _PRICE.format("price_at_purchase"), f"coalesce({_BOOKS_PRICE}, 0.01)"
        ),
        "quantity": keep("quantity", f"quantity <= 99 OR {_QUANTITY} AND {_LINE_TOTAL}", "99"),
    },
)
_ORDERS = Tightening(
    "orders",
    "id::text",
    {
        "orders_total_check": _TOTAL,
        "orders_shipping_check": _SHIPPING,
        "orders_created_at_check": sane_time("created_at"),
        "orders_updated_at_check": sane_time("updated_at"),
    },
    {
        "total": keep("total", _TOTAL, f"coalesce({_SUM}, 0)"),
        "shipping": keep("shipping", _SHIPPING, f"coalesce({_ADDRESS}, '{{}}')"),
        **_times("created_at"),
        "updated_at": "now()",
    },
)
# Books before the lines that take their prices, lines before the orders that add them up.
_ALL = (_BOOKS, _ITEMS, _ORDERS, outbox_tightening(), heartbeat_tightening())
_FORMER = {
    "books": {"books_price_check": "price > 0"},
    "order_items": {
        "order_items_price_at_purchase_check": "price_at_purchase > 0",
        "order_items_quantity_check": "quantity > 0",
    },
    "orders": {"orders_total_check": "total >= 0"},
}


def upgrade() -> None:
    tighten(*_ALL)


def downgrade() -> None:
    loosen(*_ALL, former=_FORMER)
