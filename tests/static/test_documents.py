"""Documents and lock files tell the truth about the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from checks import documents, inventory


def test_links_lead_somewhere(committed: dict[str, str], root: Path, no_faults: list[str]) -> None:
    for path in committed:
        if path.endswith(".md") and "/fixtures/" not in path:
            no_faults += documents.broken_links(root / path, root)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A `heading`, here\n", encoding="utf-8")
    page = tmp_path / "a.md"
    page.write_text("[b](b.md#a-heading-here) `[not](a link.md)`\n", encoding="utf-8")
    assert documents.broken_links(page, tmp_path) == []
    page.write_text("[b](c.md) [b](b.md#none)\n", encoding="utf-8")
    assert len(documents.broken_links(page, tmp_path)) == 2


# Documents that tell of what was, or of a component that is not there: its files are those of the exercise (test_exercise.py).
HISTORY, EXERCISE = "CHANGELOG.md", "/greeter"


def manuals(committed: dict[str, str]) -> dict[str, str]:
    """Return the documents that say how things are."""
    return {
        path: text
        for path, text in committed.items()
        if path.endswith(".md") and "/fixtures/" not in path and "/exercise/" not in path and path != HISTORY
    }


def test_commands_and_files_that_documents_name_exist(committed: dict[str, str], root: Path, no_faults: list[str]) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", committed["Makefile"], re.MULTILINE))
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True)
    for path, text in manuals(committed).items():
        no_faults += documents.unknown_commands(path, text, targets)
        no_faults += [one for one in documents.missing_files(path, text, listed.stdout.splitlines()) if EXERCISE not in one]


def test_a_wrong_command_and_a_wrong_file_are_found(tmp_path: Path) -> None:
    text = "Run `make up`, then `make credentials`, which make sure of `tools/status` and `tools/gone x`, see `docs/*.md`, `src/a.py`.\n"
    assert documents.unknown_commands("a.md", text, {"up"}) == ["a.md: make credentials does not exist"]
    assert documents.missing_files("a.md", text, ["tools/status", "docs/b.md"]) == ["a.md: tools/gone does not exist"]
    page = tmp_path / "a.md"
    page.write_text('<img src="none.jpg" width="10" alt="x">\n', encoding="utf-8")
    assert documents.broken_links(page, tmp_path) == ["a.md: link none.jpg: no such file"]


def test_error_ids_are_documented(committed: dict[str, str], no_faults: list[str]) -> None:
    code = [
        (path, text)
        for path, text in committed.items()
        if path.startswith(("components/", "roles/", "playbooks/", "tools/", "collections/")) and not path.endswith(".md")
    ]
    no_faults += documents.error_faults(code, committed["docs/errors.md"])


def test_an_undocumented_error_id_is_found() -> None:
    unknown, unused = "BK-" + "998", "BK-" + "999"
    assert len(documents.error_faults([("a.py", unknown)], f"| {unused} | x |")) == 2


def test_the_readme_lists_every_address(committed: dict[str, str], data: inventory.Data) -> None:
    table = documents.address_table(data["bookstore_nodeports"])
    assert table in committed["README.md"], f"README.md must hold this table, made from bookstore_nodeports:\n{table}"


def test_the_readme_names_every_target_of_the_makefile(committed: dict[str, str], no_faults: list[str]) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", committed["Makefile"], re.MULTILINE))
    no_faults += [f"README.md: `make {name}` is not told" for name in sorted(targets) if f"make {name}" not in committed["README.md"]]
    told = set(re.findall(r"`make ([a-z0-9-]+)", committed["README.md"]))
    no_faults += [f"README.md: make {name} does not exist" for name in sorted(told - targets)]


def test_make_help_lists_every_target(committed: dict[str, str], root: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", committed["Makefile"], re.MULTILINE)
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=root, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE) == targets


def _pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE))


def test_tests_and_images_use_the_same_versions(committed: dict[str, str], no_faults: list[str]) -> None:
    path = "apps/common/requirements.txt"
    image, dev = _pins(committed[path]), _pins(committed["requirements/dev.txt"])
    assert {"fastapi", "sqlalchemy", "psycopg", "alembic"} <= set(image)
    for name, version in image.items():
        if dev.get(name, version) != version:
            no_faults.append(f"requirements/dev.txt: {name}=={dev[name]}, but {path} has {version}")


def test_tests_have_what_the_services_need(committed: dict[str, str], no_faults: list[str]) -> None:
    dev, controller = _pins(committed["requirements/dev.txt"]), _pins(committed["requirements/controller.txt"])
    for name in (
        "fastapi",
        "starlette",
        "sqlalchemy",
        "psycopg",
        "alembic",
        "pydantic-settings",
        "uvicorn",
        "structlog",
        "prometheus-client",
    ):
        if name not in dev:
            no_faults.append(f"requirements/dev.txt: {name} is missing; the services' tests need it")
    for name in sorted(set(dev) & set(controller)):
        if dev[name] != controller[name]:
            no_faults.append(f"requirements/dev.txt: {name}=={dev[name]}, but controller.txt has {controller[name]}")


@pytest.mark.parametrize("path", ["requirements/controller.txt", "requirements/dev.txt", "apps/common/requirements.txt"])
def test_lock_files_pin_everything_by_hash(committed: dict[str, str], path: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", committed[path].strip())
    loose = [entry.splitlines()[0] for entry in entries if "==" not in entry.splitlines()[0] or "--hash=sha256:" not in entry]
    assert loose == []
