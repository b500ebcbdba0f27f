"""What of Superset's packages goes into the image."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[3] / "roles/superset/images/superset/trim.py"


@pytest.fixture(scope="module")
def trim() -> ModuleType:
    """The script, which is no package."""
    # Not imported: that would leave a compiled copy in the folder of the role.
    module = ModuleType("superset_trim")
    exec(compile(SOURCE.read_text(encoding="utf-8"), str(SOURCE), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(
    "path",
    [
        "bin", "superset/examples/world_health", "superset/translations/de", "superset/translations/pt_BR", "pyarrow/include",
        "pyarrow/_flight.cpython-311-x86_64-linux-gnu.so", "pyarrow/libarrow_flight.so.1801", "pandas/tests", "numpy/core/tests",
        "superset/static/assets/x.js.map", "babel/locale-data/de.dat", "flask-3.1.3.dist-info/RECORD", "selenium/webdriver/common/linux",
    ],
)  # fmt: skip
def test_what_nobody_runs_is_left_out(trim: ModuleType, path: str) -> None:
    assert trim.unused(path)


@pytest.mark.parametrize(
    "path",
    [
        "superset", "superset/examples/helpers.py", "superset/translations/en", "superset/translations/utils.py",
        "superset/translations/empty_language_pack.json", "pyarrow/libarrow_substrait.so.1801", "pyarrow/libarrow.so.1801",
        "superset/static/assets/x.js", "babel/locale-data/en.dat", "babel/locale-data/root.dat", "flask-3.1.3.dist-info/METADATA",
        "selenium/webdriver/common/by.py", "pandas/core",
    ],
)  # fmt: skip
def test_what_runs_stays(trim: ModuleType, path: str) -> None:
    assert not trim.unused(path)


def test_the_copy_holds_what_stays(trim: ModuleType, tmp_path: Path) -> None:
    for name in ("superset/app.py", "superset/translations/de/messages.json", "pandas/tests/test_x.py", "bin/tool"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text("", encoding="utf-8")
    trim.main(tmp_path / "in", tmp_path / "out")
    assert [file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.*")] == ["superset/app.py"]
