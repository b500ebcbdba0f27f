"""The repository's committed files, the inventory, and every manifest rendered once per run."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import allowed, inventory
from checks import rendering as rendering_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def committed() -> dict[str, str]:
    """Path to text of every file that is, or would be, committed; binary ones are left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    texts = {}
    for name in sorted(set(listed)):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" not in content:
                texts[name] = content.decode("utf-8")
    return texts


@pytest.fixture(scope="session")
def data() -> inventory.Data:
    """The inventory's variables, as written."""
    return inventory.load(ROOT / "inventory/local/group_vars/all")


@pytest.fixture
def allowances() -> allowed.Allowed:
    """The named exceptions."""
    return allowed.load()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that need the manifests come last: they are rendered beside the others."""
    items.sort(key=_needs_manifests)


def _needs_manifests(item: pytest.Item) -> bool:
    return "rendered_folder" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def rendering(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Path] | None]:
    """Begin to render when a test of this session will need it."""
    if not any(map(_needs_manifests, request.session.items)):
        yield None
        return
    base = tmp_path_factory.getbasetemp()
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(_render_once, base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session")
def rendered_folder(rendering: Future[Path]) -> Path:
    """Folder of the manifests of all roles, rendered by the real playbook without a cluster; once for all workers."""
    try:
        return rendering.result()
    except AssertionError as error:
        pytest.fail(str(error), pytrace=False)


def _render_once(shared: Path) -> Path:
    """The folder; whichever worker comes first fills it. AssertionError, in every worker, if that failed."""
    folder, failure = shared / "rendered", shared / "rendering.failed"
    with (shared / "rendered.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists() and not failure.exists():
            try:
                rendering_of.render(ROOT, shared / "rendering", shared)
                (shared / "rendering").rename(folder)
            except AssertionError as error:
                failure.write_text(str(error), encoding="utf-8")
        if failure.exists():
            raise AssertionError(failure.read_text(encoding="utf-8"))
    return folder


@pytest.fixture(scope="session")
def rendered(rendered_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """File name to its manifests."""
    files = sorted(rendered_folder.glob("*.yml"))
    return {file.name: [d for d in yaml.safe_load_all(file.read_text(encoding="utf-8")) if d] for file in files}


@pytest.fixture(scope="session")
def manifests(rendered: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """All manifests in one list."""
    return [manifest for documents in rendered.values() for manifest in documents]


@pytest.fixture
def no_faults() -> list[str]:
    """A list to which a test adds faults; at its end all are shown at once."""
    return []


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a test that left faults in its list."""
    outcome = yield
    found = pyfuncitem.funcargs.get("no_faults")
    if isinstance(found, list) and found:
        pytest.fail("\n".join(str(fault) for fault in found), pytrace=False)
    return outcome
