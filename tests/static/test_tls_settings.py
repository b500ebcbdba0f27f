"""Nothing shares TLS settings or HTTP clients that threads disturb: tests take both from tests/live/tls.py."""

from __future__ import annotations

import ast

import pytest

MAKERS = {"create_default_context", "SSLContext", "create_urllib3_context", "_create_unverified_context", "_create_stdlib_context"}
CLIENTS = {"Client", "HTTPTransport", "PoolManager", "HTTPSConnectionPool"}
HELPER = "tests/live/tls.py"
# Who keeps settings: one event loop uses them all.
KEEPERS = {"tests/perf/load.py"}
TESTS = ("tests/live/", "tests/e2e/", "tests/perf/", "tests/contract/")
OTHERS = ("collections/", "tools/")


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _makes(node: ast.AST) -> bool:
    """Whether the expression makes settings: by the standard library or by ``trust.context()``."""
    return any(isinstance(one, ast.Call) and _name(one.func) in MAKERS | {"context"} for one in ast.walk(node))


def faults(path: str, source: str) -> list[str]:
    """What a module does with TLS settings or clients that another thread could meet."""
    found: list[tuple[ast.expr | ast.stmt, str]] = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and path.startswith(TESTS) and path != HELPER:
            if _name(node.func) in MAKERS:
                found.append((node, "makes TLS settings: take Trust(...).context()"))
            if _name(node.func) in CLIENTS:
                found.append((node, "makes a client: take Trust(...).client() or plain_client()"))
            for option in node.keywords:
                own = isinstance(option.value, ast.Call) and _name(option.value.func) == "context"
                if option.arg == "verify" and not own:
                    found.append((node, "gives a client settings: take Trust(...).client(), or verify=trust.context()"))
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and _makes(node.value) and path not in KEEPERS:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            kept = any(isinstance(one, ast.Attribute) for target in targets for one in ast.walk(target)) or node in tree.body
            if kept and "ssl" in source + path:
                found.append((node, "keeps TLS settings, which threads may share: make them anew for each connection"))
    return [f"{path}:{node.lineno}: {what}" for node, what in found]


def test_threads_find_nothing_to_share(committed: dict[str, str], no_faults: list[str]) -> None:
    looked_at = [path for path in committed if path.endswith(".py") and path.startswith(TESTS + OTHERS)]
    assert HELPER in looked_at
    for path in looked_at:
        no_faults += faults(path, committed[path])


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("tests/live/x.py", "import ssl\ntls = ssl.create_default_context()"),
        ("tests/live/x.py", "from ssl import SSLContext\ndef f():\n    return SSLContext()"),
        ("tests/e2e/x.py", "import httpx2\nclient = httpx2.Client(base_url='https://x')"),
        ("tests/perf/x.py", "import httpx2\ndef f(trust):\n    httpx2.AsyncClient(verify=trust)"),
        ("tests/perf/x.py", "import httpx2\nhttpx2.get('https://x', verify=TLS)"),
        ("tools/x.py", "import ssl\nTLS = ssl.create_default_context()"),
        ("collections/x.py", "import ssl\nclass X:\n    def f(self):\n        self.tls = ssl.create_default_context()"),
        ("collections/x.py", "import ssl\nclass X:\n    def f(self):\n        self.tls: ssl.SSLContext = ssl.SSLContext()"),
    ],
)  # fmt: skip
def test_sharing_is_found(path: str, source: str) -> None:
    assert faults(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("tests/live/x.py", "import httpx2\ndef f(trust):\n    httpx2.AsyncClient(verify=trust.context())"),
        ("collections/x.py", "import ssl\ndef f():\n    context = ssl.create_default_context()"),
    ],
)  # fmt: skip
def test_settings_of_ones_own_are_allowed(path: str, source: str) -> None:
    assert not faults(path, source)
