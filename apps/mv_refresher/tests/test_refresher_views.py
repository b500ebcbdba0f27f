"""What the ten views say, for a small shop whose numbers are worked out by hand (SPEC 7.3)."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from refresher_testing import book, item, order, settle, stock, view

PROBE_BOOK = "ffffffff-0000-0000-0000-000000000001"


@pytest.fixture
def shop(rows: Any) -> Any:
    book(rows, "b1", title="Dune", author="Herbert", genre="SF", price="10.00")
    book(rows, "b2", title="Emma", author="Austen", genre="Classics", price="9.99")
    book(rows, "b3", title="Sold out", author="Austen", genre="Unknown", price="50.00", active=False)
    book(rows, PROBE_BOOK, title="Probe", price="25.00")
    order(rows, "o1", "40.00")
    item(rows, "i1", "o1", "b1", 2, "10.00")
    item(rows, "i2", "o1", "b2", 2, "10.00")
    order(rows, "o2", "30.00", status="SHIPPED", created_at="2026-03-02T01:00:00Z", order_date_key=20260302)
    item(rows, "i3", "o2", "b1", 3, "10.00")
    order(rows, "o3", "500.00", status="CANCELLED")
    item(rows, "i4", "o3", "b1", 50, "10.00")
    # Its book has not arrived.
    order(rows, "o4", "7.00")
    item(rows, "i5", "o4", "b9", 1, "7.00")
    # Its lines have not arrived, and its day is beyond the calendar.
    order(rows, "o5", "3.00", created_at="2040-01-01T23:00:00Z", order_date_key=20400101)
    # Lines whose order has not arrived.
    item(rows, "i6", "o6", "b2", 9, "9.00")
    # Probes.
    order(rows, "p1", "1000.00", user_id="cdc-probe")
    item(rows, "i7", "p1", "b1", 100, "10.00")
    item(rows, "i8", "o1", PROBE_BOOK, 100, "1.00")
    stock(rows, "b1", 10, 2)
    stock(rows, "b2", 8, 3)
    stock(rows, "b3", 4, 4)
    stock(rows, "b9", 0)
    stock(rows, PROBE_BOOK, 9)
    return rows


def test_v01_product_sales_volume(shop: Any) -> None:
    assert view(shop, "mv_product_sales_volume") == [
        ("b1", "Dune (Herbert)", "Dune", "Herbert", 5, Decimal("50.00")),
        ("b2", "Emma (Austen)", "Emma", "Austen", 2, Decimal("20.00")),
        ("b9", "Unknown (b9)", "Unknown", "Unknown", 1, Decimal("7.00")),
    ]


def test_v02_sales_over_time(shop: Any) -> None:
    assert view(shop, "mv_sales_over_time") == [
        (date(2026, 3, 1), 2, 5, Decimal("47.00")),
        (date(2026, 3, 2), 1, 3, Decimal("30.00")),
        (date(2040, 1, 1), 1, 0, Decimal("3.00")),
    ]


def test_v03_revenue_by_author(shop: Any) -> None:
    order(shop, "o7", "20.00")
    item(shop, "i9", "o7", "b2", 1, "10.00")
    item(shop, "i10", "o7", "b3", 1, "10.00")
    assert view(shop, "mv_revenue_by_author") == [
        ("Austen", Decimal("40.00"), 4, 2),
        ("Herbert", Decimal("50.00"), 5, 2),
        ("Unknown", Decimal("7.00"), 1, 1),
    ]


def test_v04_revenue_by_genre(shop: Any) -> None:
    assert view(shop, "mv_revenue_by_genre") == [
        ("Classics", Decimal("20.00"), 2, Decimal("25.97")),
        ("SF", Decimal("50.00"), 5, Decimal("64.94")),
        ("Unknown", Decimal("7.00"), 1, Decimal("9.09")),
    ]
    # A book without a genre and one that has not arrived read the same.
    order(shop, "o7", "50.00")
    item(shop, "i9", "o7", "b3", 1, "50.00")
    assert view(shop, "mv_revenue_by_genre")[-1] == ("Unknown", Decimal("57.00"), 2, Decimal("44.88"))


def test_v05_order_status_distribution(shop: Any) -> None:
    assert view(shop, "mv_order_status_distribution") == [
        ("CANCELLED", 1, Decimal("500.00")),
        ("CONFIRMED", 3, Decimal("50.00")),
        ("SHIPPED", 1, Decimal("30.00")),
    ]


def test_v06_inventory_health(shop: Any) -> None:
    assert view(shop, "mv_inventory_health") == [
        ("b1", "Dune (Herbert)", "Dune", "Herbert", "SF", 10, 2, 8, 5, "in"),
        ("b2", "Emma (Austen)", "Emma", "Austen", "Classics", 8, 3, 5, 5, "low"),
        ("b3", "Sold out (Austen)", "Sold out", "Austen", "Unknown", 4, 4, 0, 5, "out"),
    ]
    book(shop, "b9", title="Late", author="Late", genre="Late")
    assert view(shop, "mv_inventory_health")[-1] == ("b9", "Late (Late)", "Late", "Late", "Late", 0, 0, 0, 5, "out")


def test_v07_avg_order_value(shop: Any) -> None:
    assert view(shop, "mv_avg_order_value") == [
        (date(2026, 3, 1), 2, Decimal("47.00"), Decimal("23.50")),
        (date(2026, 3, 2), 1, Decimal("30.00"), Decimal("30.00")),
        (date(2040, 1, 1), 1, Decimal("3.00"), Decimal("3.00")),
    ]


def test_v08_top_books_by_revenue(shop: Any) -> None:
    # As much as Emma: the title decides.
    order(shop, "o7", "20.00")
    item(shop, "i9", "o7", "b3", 2, "10.00")
    assert view(shop, "mv_top_books_by_revenue", "rank") == [
        ("b1", "Dune (Herbert)", "Dune", "Herbert", Decimal("50.00"), 5, 1),
        ("b2", "Emma (Austen)", "Emma", "Austen", Decimal("20.00"), 2, 2),
        ("b3", "Sold out (Austen)", "Sold out", "Austen", Decimal("20.00"), 2, 3),
        ("b9", "Unknown (b9)", "Unknown", "Unknown", Decimal("7.00"), 1, 4),
    ]


def test_v09_inventory_turnover(shop: Any) -> None:
    assert view(shop, "mv_inventory_turnover") == [
        ("b1", "Dune (Herbert)", "Dune", 5, 10, Decimal("33.33")),
        ("b2", "Emma (Austen)", "Emma", 2, 8, Decimal("20.00")),
        ("b3", "Sold out (Austen)", "Sold out", 0, 4, Decimal("0.00")),
        ("b9", "Unknown (b9)", "Unknown", 1, 0, Decimal("100.00")),
    ]


BY_BOOK = ("mv_product_sales_volume", "mv_inventory_health", "mv_top_books_by_revenue", "mv_inventory_turnover")


def test_books_of_one_title_have_labels_of_their_own(shop: Any) -> None:
    """By author; if that is the same, too, by ISBN or the id's end. Every view says the same of a book."""
    twins = {
        "c1": ("Selected Poems", "Auden", None), "c2": ("Selected Poems", "Larkin", None),
        "20000000-0000-4000-8000-00000000000a": ("Poems", "Anon", "9780441172719"),
        "20000000-0000-4000-8000-00000000000b": ("Poems", "Anon", "9780441172702"),
        "20000000-0000-4000-8000-00000000000c": ("Poems", "Anon", None),
        # Not the same title and author, but the same words.
        "d1": ("A (B)", "C", "9780000000001"), "d2": ("A", "B) (C", "9780000000002"),
    }  # fmt: skip
    order(shop, "o8", "70.00")
    for number, (book_id, (title, author, isbn)) in enumerate(twins.items()):
        book(shop, book_id, title=title, author=author, isbn=isbn)
        stock(shop, book_id, 9)
        item(shop, f"t{number}", "o8", book_id, 1, "10.00")
    # A probe takes nobody's label.
    book(shop, "ffffffff-0000-0000-0000-000000000002", title="Dune", author="Herbert")
    seen = {}
    settle(shop)
    for name in BY_BOOK:
        found = dict(shop.execute(f"SELECT book_id, label FROM {name}").fetchall())
        assert len(set(found.values())) == len(found)
        seen[name] = {book_id: found[book_id] for book_id in (*twins, "b1")}
    assert seen["mv_product_sales_volume"] == {
        "c1": "Selected Poems (Auden)", "c2": "Selected Poems (Larkin)",
        "20000000-0000-4000-8000-00000000000a": "Poems (Anon, 9780441172719)",
        "20000000-0000-4000-8000-00000000000b": "Poems (Anon, 9780441172702)",
        "20000000-0000-4000-8000-00000000000c": "Poems (Anon, 00000000000c)",
        "d1": "A (B) (C, 9780000000001)", "d2": "A (B) (C, 9780000000002)",
        "b1": "Dune (Herbert)",
    }  # fmt: skip
    assert all(labels == seen["mv_product_sales_volume"] for labels in seen.values())


def test_texts_are_sorted_as_people_sort_them(shop: Any) -> None:
    """Whoever asks, for instance a chart with an ORDER BY of its own: the collation is the column's."""
    order(shop, "o8", "50.00")
    for number, word in enumerate(("Technology", "École", "art", "Zoo", "Über")):
        book(shop, f"s{number}", title=word, author=word, genre=word)
        stock(shop, f"s{number}", 1)
        item(shop, f"w{number}", "o8", f"s{number}", 1, "10.00")
    settle(shop)
    sorted_words = ["art", "École", "Technology", "Über", "Zoo"]
    for name, columns in {
        "mv_product_sales_volume": ("label", "title", "author"), "mv_revenue_by_author": ("author",),
        "mv_revenue_by_genre": ("genre",), "mv_inventory_health": ("label", "title", "author", "genre"),
        "mv_top_books_by_revenue": ("label", "title", "author"), "mv_inventory_turnover": ("label", "title"),
    }.items():  # fmt: skip
        for column in columns:
            found = [text for (text,) in shop.execute(f"SELECT {column} FROM {name} ORDER BY {column}").fetchall()]
            words = [text.split(" (")[0] for text in found if text.split(" (")[0] in sorted_words]
            assert words == sorted_words, (name, column)
    # Of the same revenue: by title.
    ranked = shop.execute("SELECT title FROM mv_top_books_by_revenue WHERE revenue = 10 ORDER BY rank").fetchall()
    assert [title for (title,) in ranked] == sorted_words


def test_each_rank_is_one_books(shop: Any) -> None:
    order(shop, "o8", "30.00")
    for number in range(3):
        book(shop, f"r{number}", title="Poems", author="Anon")
        item(shop, f"q{number}", "o8", f"r{number}", 1, "10.00")
    ranks = [row[-1] for row in view(shop, "mv_top_books_by_revenue", "rank")]
    assert ranks == list(range(1, len(ranks) + 1))


def test_v10_book_price_distribution(shop: Any) -> None:
    for number, price in enumerate(["19.99", "20.00", "29.99", "30.00", "49.99", "50.00", "999.99", "0.01"]):
        book(shop, f"c{number}", price=price)
    assert view(shop, "mv_book_price_distribution", "sort_key") == [
        ("under 10", 1, 2),
        ("10-19.99", 2, 2),
        ("20-29.99", 3, 2),
        ("30-49.99", 4, 2),
        ("50 and over", 5, 2),
    ]


def test_a_dimension_row_that_arrives_late_and_a_deletion_reach_the_views(shop: Any) -> None:
    settle(shop)
    book(shop, "b9", title="Late", author="Late", genre="Late")
    shop.execute("DELETE FROM fact_orders WHERE order_id = 'o2'")
    settle(shop)
    assert shop.execute("SELECT * FROM mv_product_sales_volume ORDER BY 1").fetchall() == [
        ("b1", "Dune (Herbert)", "Dune", "Herbert", 2, Decimal("20.00")),
        ("b2", "Emma (Austen)", "Emma", "Austen", 2, Decimal("20.00")),
        ("b9", "Late (Late)", "Late", "Late", 1, Decimal("7.00")),
    ]
    assert shop.execute("SELECT genre FROM mv_revenue_by_genre ORDER BY 1").fetchall() == [
        ("Classics",), ("Late",), ("SF",),
    ]  # fmt: skip


def test_empty_tables_make_empty_views(rows: Any) -> None:
    settle(rows)
    for name in [name for (name,) in rows.execute("SELECT mv_name FROM mv_refresh_state").fetchall()]:
        assert rows.execute(f"SELECT * FROM {name}").fetchall() == []
