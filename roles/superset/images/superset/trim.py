"""Copies what this product runs of Superset's packages: in English, without examples, tests and file formats of Arrow."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

# Paths below the packages' folder, of files and of folders.
UNUSED = re.compile(
    r"bin|[^/]+\.dist-info/(RECORD|licenses|LICENSE.*)"
    r"|superset/examples/[a-z_]+|superset/translations/(?!en)[a-z]{2}(_[A-Z]{2})?|superset/translations/messages.pot"
    r"|.*\.(js|css)\.map"
    r"|(pandas|numpy|pyarrow|numpy/[^/]+)/tests|pyarrow/(include|src)"
    r"|pyarrow/(_flight|libarrow_flight|libarrow_python_flight|_pyarrow_cpp_tests)\..*"
    r"|babel/locale-data/(?!en\.dat|en_US\.dat|root\.dat)[^/]+"
    r"|selenium/webdriver/common/(linux|macos|windows)"
    r"|holidays/locale/[^/]+"
)


def unused(path: str) -> bool:
    """Return whether the file or folder at ``path``, relative to the packages, is left out."""
    return UNUSED.fullmatch(path) is not None


def main(packages: Path, target: Path) -> None:
    """Copy ``packages`` to ``target``."""
    shutil.copytree(
        packages,
        target,
        ignore=lambda folder, names: {n for n in names if unused((Path(folder) / n).relative_to(packages).as_posix())},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
