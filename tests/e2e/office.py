"""The states that the administrators' pages can be in, and how each is reached."""

from __future__ import annotations

import json

from playwright.sync_api import Route, expect

from .states import ANY_ORIGIN, PROBLEM, Scene


def overview(scene: Scene) -> None:
    scene.headed("/admin", "Overview")
    expect(scene.page.locator(".tiles").first).to_be_visible()


def overview_with_warnings(scene: Scene) -> None:
    answer = {"active_books": 30, "low_stock": None, "out_of_stock": None, "orders_by_status": None}
    answer["warnings"] = [{"part": "stock", "detail": "Stock is not known just now."}]  # type: ignore[assignment]
    scene.page.route("**/admin/summary", lambda route: route.fulfill(json=answer, headers=ANY_ORIGIN))
    scene.headed("/admin", "Overview")
    expect(scene.page.get_by_text("Stock is not known just now.")).to_be_visible()


def books(scene: Scene) -> None:
    scene.headed("/admin/books", "Books")
    expect(scene.page.get_by_test_id("admin-book").first).to_be_visible()


def books_none(scene: Scene) -> None:
    scene.headed("/admin/books?q=zzqqxxzz", "No books match")


def books_failed(scene: Scene) -> None:
    scene.fail("**/admin/books?*")
    scene.page.goto("/admin/books")
    expect(scene.page.get_by_role("button", name="Try again")).to_be_visible()


def book_to_be_deleted(scene: Scene) -> None:
    book = scene.goods.book(copies=1)
    scene.page.goto(f"/admin/books?q={book['title'].rpartition(' ')[2]}")
    scene.page.get_by_role("button", name=f"Delete {book['title']}").click()
    expect(scene.page.get_by_role("alertdialog")).to_be_visible()


def book_that_cannot_be_deleted(scene: Scene) -> None:
    book_to_be_deleted(scene)
    scene.fail("**/admin/books/*")
    box = scene.page.get_by_role("alertdialog")
    box.get_by_role("button", name="Delete").click()
    expect(box.get_by_role("alert")).to_be_visible()


def book_with_errors(scene: Scene) -> None:
    scene.headed("/admin/books/new", "Add a book")
    scene.page.get_by_role("button", name="Add the book").click()
    expect(scene.page.get_by_role("form", name="Book").get_by_label("Title")).to_have_attribute("aria-invalid", "true")


def book(scene: Scene) -> None:
    made = scene.goods.book(copies=4)
    scene.headed(f"/admin/books/{made['id']}", made["title"])
    expect(scene.page.get_by_label("Price in US dollars")).to_have_value(made["price"])


def book_changed_meanwhile(scene: Scene) -> None:
    book(scene)
    problem = {"type": "about:blank", "title": "Precondition failed", "status": 412, "detail": "Changed.", "code": "stale_version"}

    def refuse(route: Route) -> None:
        if route.request.method != "PUT":
            route.fallback()
            return
        route.fulfill(status=412, headers=PROBLEM, body=json.dumps(problem))

    scene.page.route("**/admin/books/*", refuse)
    scene.page.get_by_label("Price in US dollars").fill("11.00")
    scene.page.get_by_role("button", name="Save changes").click()
    expect(scene.page.get_by_role("alertdialog", name="Changed meanwhile")).to_be_visible()


def stock(scene: Scene) -> None:
    scene.headed("/admin/stock", "Stock")
    expect(scene.page.get_by_test_id("stock-row").first).to_be_visible()


def stock_editor(scene: Scene) -> None:
    made = scene.goods.book(copies=4)
    scene.page.goto(f"/admin/stock?q={made['title'].rpartition(' ')[2]}")
    scene.page.get_by_role("button", name=f"Change stock of {made['title']}").click()
    box = scene.page.get_by_role("dialog", name=made["title"])
    box.get_by_role("button", name="Adjust stock").click()
    expect(box.get_by_label("Reason")).to_have_attribute("aria-invalid", "true")


def stock_that_was_set(scene: Scene) -> None:
    stock_editor(scene)
    scene.page.get_by_role("button", name="Set stock").click()
    # Over the window, and for everybody.
    said = scene.page.get_by_role("status").filter(has_text="Stock is set.")
    expect(said).to_be_visible()
    said.get_by_role("button", name="Dismiss").click(trial=True)


def stock_changed_meanwhile(scene: Scene) -> None:
    stock_editor(scene)
    problem = {"type": "about:blank", "title": "Precondition failed", "status": 412, "detail": "Changed.", "code": "stale_version"}
    now = {"version": 9, "quantity": 1, "reserved": 0, "low_stock_threshold": 5}

    def refuse(route: Route) -> None:
        if route.request.method != "PUT":
            route.fallback()
            return
        route.fulfill(status=412, headers=PROBLEM, body=json.dumps(problem | now))

    scene.page.route("**/admin/stock/*", refuse)
    scene.page.get_by_role("button", name="Set stock").click()
    expect(scene.page.get_by_role("alertdialog", name="Stock changed meanwhile")).to_be_visible()


def low_stock(scene: Scene) -> None:
    scene.goods.book(copies=1)
    scene.headed("/admin/low-stock", "Low stock")
    expect(scene.page.get_by_test_id("stock-row").first).to_be_visible()


def all_orders(scene: Scene) -> None:
    scene.order(scene.goods.book(copies=5))
    scene.headed("/admin/orders", "Orders")
    expect(scene.page.locator("tbody tr").first).to_be_visible()


def any_order(scene: Scene) -> None:
    placed = scene.order(scene.goods.book(copies=5))
    scene.page.goto(f"/admin/orders/{placed['id']}")
    expect(scene.page.get_by_role("button", name="Mark as shipped")).to_be_visible()


def order_to_be_shipped(scene: Scene) -> None:
    any_order(scene)
    scene.page.get_by_role("button", name="Mark as shipped").click()
    expect(scene.page.get_by_role("alertdialog", name="Mark as shipped?")).to_be_visible()


ADMINISTRATORS = [
    overview, overview_with_warnings, books, books_none, books_failed, book_to_be_deleted, book_that_cannot_be_deleted, book_with_errors,
    book, book_changed_meanwhile, stock, stock_editor, stock_that_was_set, stock_changed_meanwhile, low_stock, all_orders, any_order,
    order_to_be_shipped,
]  # fmt: skip
