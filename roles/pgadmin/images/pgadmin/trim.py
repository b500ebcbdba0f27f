"""Copies what this product runs of pgAdmin's packages: in English, without descriptions of clouds' interfaces, manuals and tests."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

# Paths below the packages' folder, of files and of folders.
UNUSED = re.compile(
    r"bin|[^/]+\.dist-info/(RECORD|licenses|LICENSE.*)"
    r"|googleapiclient/discovery_cache/documents|botocore/data/.+"
    r"|pgadmin4/(docs|regression)|pgadmin4/.*/tests|.*\.(js|css)\.map"
    r"|pgadmin4/pgadmin/translations/(?!en)[a-z]{2}(_[A-Za-z_]+)?"
    r"|babel/locale-data/(?!en\.dat|en_US\.dat|root\.dat)[^/]+"
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
