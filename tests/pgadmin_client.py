"""PgAdmin as its page uses it: signed in by its form, servers listed and connected, a statement run in a query tool."""

from __future__ import annotations

import random
import re
from typing import Any

import httpx2

Row = dict[str, Any]


class RefusedError(Exception):
    """PgAdmin said no; the text is its answer."""


def form_token(client: httpx2.Client) -> str:
    """Ask for the sign-in page; returns the token of its form."""
    page = client.get("/login")
    found = re.search(r'csrfToken(?:"|&#34;|\\")?: ?(?:"|&#34;|\\")([^"&\\]+)', page.text)
    assert page.status_code == 200, page.status_code
    assert found, "the sign-in page holds no csrfToken"
    return found.group(1)


def sign_in(client: httpx2.Client, name: str, password: str) -> bool:
    """Send the sign-in form; returns whether pages are shown afterwards."""
    form = {"email": name, "password": password, "csrf_token": form_token(client), "language": "en", "internal_button": "Login"}
    answer = client.post("/authenticate/login", data=form)
    assert answer.status_code == 302, f"{answer.status_code} {answer.text[:300]}"
    return client.get("/browser/").status_code == 200


class PgAdmin:
    """A signed-in session."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        script = client.get("/browser/js/utils.js").text
        found = re.search(r"\['csrf_token'\] = '([^']+)'", script)
        assert found, "utils.js holds no token"
        self._headers = {"X-pgA-CSRFToken": found.group(1)}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request as the page does; returns the JSON answer. RefusedError for any status from 400."""
        answer = self._client.request(method, path, headers=self._headers, json=body)
        if answer.status_code >= 400:
            raise RefusedError(f"{path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def nodes(self, path: str) -> list[Row]:
        """Return what the tree shows there; some lists come as data, others as the result."""
        answer = self.ask("GET", f"/browser/{path}")
        found: list[Row] = answer["data"] or answer["result"] or []
        return found

    def group(self, name: str = "Bookstore") -> int:
        """Return the number of a group of servers."""
        found = [row["_id"] for row in self.nodes("server_group/nodes/") if row["label"] == name]
        assert len(found) == 1, found
        return int(found[0])

    def servers(self) -> dict[str, Row]:
        """Return the servers of our group by name."""
        return {row["label"]: row for row in self.nodes(f"server/nodes/{self.group()}/")}

    def connect(self, server: str) -> None:
        """Connect a server without a password; RefusedError when one is asked for or the server says no."""
        self.ask("POST", f"/browser/server/connect/{self.group()}/{self.servers()[server]['_id']}", {})

    def query(self, server: str, statement: str) -> list[list[Any]]:
        """Run a statement in the server's first database, in a query tool of its own; RefusedError with PostgreSQL's message."""
        self.connect(server)
        group, sid = self.group(), self.servers()[server]["_id"]
        detail = self.ask("GET", f"/browser/server/obj/{group}/{sid}")
        databases = {row["label"]: row for row in self.nodes(f"database/nodes/{group}/{sid}/")}
        did = databases[detail["db"]]["_id"]
        number = random.randrange(1, 9_999_999)
        self.ask("POST", f"/sqleditor/initialize/sqleditor/{number}/{group}/{sid}/{did}", {"dbname": detail["db"]})
        try:
            self.ask("POST", f"/sqleditor/query_tool/start/{number}", {"sql": statement, "explain_plan": None})
            # It waits itself for a while, and says "Busy" then.
            for _ in range(600):
                data = self.ask("GET", f"/sqleditor/poll/{number}")["data"]
                if data["status"] != "Busy":
                    break
            if data["status"] != "Success":
                raise RefusedError(str(data.get("result")))
            return [[*row.values()] if isinstance(row, dict) else row for row in data["result"] or []]
        finally:
            self.ask("DELETE", f"/sqleditor/close/{number}", {})

    def change(self, server: str, fields: Row) -> None:
        """Change a registration by hand."""
        self.ask("PUT", f"/browser/server/obj/{self.group()}/{self.servers()[server]['_id']}", fields)

    def remove(self, server: str) -> None:
        """Remove a registration by hand."""
        self.ask("DELETE", f"/browser/server/obj/{self.group()}/{self.servers()[server]['_id']}", {})
