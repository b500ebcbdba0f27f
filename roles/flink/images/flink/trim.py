"""Copies what this product runs of the Flink packages: state lives on the heap and no function is written in Python."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path

# Native libraries of state backends and of the vendored gRPC, for all systems: nine tenths of the two archives.
NATIVE = re.compile(r"lib(rocksdb|forst)jni-.*|(.*/)?META-INF/native/.*|META-INF/native/.*")
UNUSED_LIBRARIES = ("flink-scala_", "flink-csv", "log4j-layout-template-json", "log4j-1.2-api")
UNUSED_PYTHON = ("bin", "examples", "fn_execution/tests", "lib", "log", "opt", "plugins", "licenses")


def slim(source: Path, target: Path) -> None:
    """Copy an archive without native libraries."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if not NATIVE.fullmatch(entry.filename):
                new.writestr(entry, old.read(entry))


def main(packages: Path, root: Path) -> None:
    """Make ``root``/flink (lib, opt, plugins) and ``root``/python of ``packages``."""
    flink = packages / "pyflink"
    (root / "flink/lib").mkdir(parents=True)
    for jar in sorted((flink / "lib").glob("*.jar")):
        if jar.name.startswith("flink-dist"):
            slim(jar, root / "flink/lib" / jar.name)
        elif not jar.name.startswith(UNUSED_LIBRARIES):
            shutil.copyfile(jar, root / "flink/lib" / jar.name)
    for jar in (flink / "opt").glob("flink-python-*.jar"):
        slim(jar, root / "flink/opt" / jar.name)
    shutil.copytree(flink / "plugins/metrics-prometheus", root / "flink/plugins/metrics-prometheus")
    shutil.copytree(
        packages, root / "python",
        ignore=lambda folder, names: {n for n in names if n.endswith(".dist-info") or (Path(folder) == flink and n in UNUSED_PYTHON)},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
