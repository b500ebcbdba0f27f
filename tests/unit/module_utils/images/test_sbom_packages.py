"""What each ecosystem tells of an image's packages, on small recorded inputs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import (
    debian,
    embedded,
    golang,
    java,
    npm,
    packages,
    python,
)

TRIXIE = {"ID": "debian", "VERSION_ID": "13"}
STATUS = """\
Package: libssl3t64
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.5.1-1+deb13u1
Description: libraries
 Source: of a folded line, which is none

Package: util-linux
Status: install ok installed
Architecture: amd64
Version: 2.41-5

Package: libpam0g
Status: install ok installed
Architecture: amd64
Source: pam (1.7.0-5)
Version: 1.7.0-5+b1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def urls(found: list[packages.Package]) -> list[str]:
    return [package.purl.to_string() for package in found]


def test_debian_packages_tell_their_source_and_release() -> None:
    found = debian.packages(STATUS, debian.STATUS, TRIXIE)
    assert urls(found) == [
        "pkg:deb/debian/libssl3t64@3.5.1-1%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=openssl",
        "pkg:deb/debian/util-linux@2.41-5?arch=amd64&distro=debian-13",
        "pkg:deb/debian/libpam0g@1.7.0-5%2Bb1?arch=amd64&distro=debian-13&upstream=pam%401.7.0-5",
    ]
    assert [(one.note("bookstore:deb:source"), one.note("bookstore:deb:source-version")) for one in found] == [
        ("openssl", "3.5.1-1+deb13u1"), ("util-linux", "2.41-5"), ("pam", "1.7.0-5"),
    ]  # fmt: skip


def test_an_image_without_a_package_manager_has_no_states() -> None:
    found = debian.packages("Package: tzdata\nVersion: 2026a\nArchitecture: all\n", debian.STATUS_FOLDER + "tzdata", TRIXIE)
    assert urls(found) == ["pkg:deb/debian/tzdata@2026a?arch=all&distro=debian-13"]


@pytest.mark.parametrize(("path", "expected"), [("/usr/bin/env", "/bin/env"), ("/bin/env", "/bin/env"), ("/usr/binary", "/usr/binary")])
def test_paths_below_usr_are_those_of_the_root(path: str, expected: str) -> None:
    assert debian.plain(path) == expected


LOCK = f"""\
# A comment.
jinja2==3.1.6 \\
    --hash=sha256:{'a' * 64} \\
    --hash=sha256:{'b' * 64}
    # via superset
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{'c' * 64}
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:{'d' * 64}
Ruamel.Yaml==0.18.16 \\
    --hash=sha256:{'e' * 64}
psycopg[binary]==3.3.1 \\
    --hash=sha256:{'f' * 64}
"""


def test_a_lock_of_python_gives_what_is_installed_on_linux() -> None:
    found = python.locked(LOCK, "requirements.txt", "3.13")
    assert urls(found) == ["pkg:pypi/jinja2@3.1.6", "pkg:pypi/ruamel-yaml@0.18.16", "pkg:pypi/psycopg@3.3.1"]
    # Which of two files was installed, the lock does not tell; of one it does.
    assert found[0].hashes == frozenset()
    assert found[0].notes == {("bookstore:lock:sha256", "a" * 64), ("bookstore:lock:sha256", "b" * 64)}
    assert found[1].hashes == {("SHA-256", "e" * 64)}


@pytest.mark.parametrize("line", ["jinja2>=3", "jinja2", "jinja2 == what is this"])
def test_a_lock_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(FactoryError, match=r"BK-410: requirements\.txt: .*jinja2"):
        python.locked(line + "\n", "requirements.txt", "3.13")


def test_python_metadata_in_an_image() -> None:
    metadata = "Metadata-Version: 2.4\nName: Jinja2\nVersion: 3.1.6\n\nVersion: 9\n"
    found = python.installed("/opt/app/Jinja2-3.1.6.dist-info/METADATA", metadata)
    assert urls(found) == ["pkg:pypi/jinja2@3.1.6"]
    assert found[0].places == {"/opt/app/Jinja2-3.1.6.dist-info"}
    assert python.installed("/x.egg-info", "no metadata") == []


def test_an_npm_lock_gives_its_production_packages() -> None:
    digest = hashlib.sha512(b"react").digest()
    lock = {
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "shop", "version": "1.0.0"},
            "node_modules/react": {"version": "19.2.9", "integrity": "sha512-" + base64.b64encode(digest).decode()},
            "node_modules/@tanstack/store": {"version": "0.11.2"},
            "node_modules/a/node_modules/react": {"version": "18.0.0"},
            "node_modules/short": {"name": "long-name", "version": "2.0.0"},
            "node_modules/vite": {"version": "8.3.8", "dev": True},
            "node_modules/link": {"resolved": "lib", "link": True},
        },
    }
    found = npm.locked(json.dumps(lock), "package-lock.json")
    assert urls(found) == ["pkg:npm/react@19.2.9", "pkg:npm/%40tanstack/store@0.11.2", "pkg:npm/react@18.0.0", "pkg:npm/long-name@2.0.0"]
    assert found[0].hashes == {("SHA-512", digest.hex())}


@pytest.mark.parametrize("text", ["", "[]", '{"lockfileVersion": 1, "dependencies": {}}'])
def test_an_npm_lock_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(FactoryError, match=r"BK-410: package-lock\.json"):
        npm.locked(text, "package-lock.json")


SBOM = "/opt/app/cryptography-50.0.2.dist-info/sboms/sbom.json"


def test_what_a_wheel_was_linked_with_is_told_by_its_own_document() -> None:
    components = [
        {"name": "cryptography", "version": "50.0.2", "purl": "pkg:pypi/cryptography@50.0.2"},
        {"name": "openssl", "version": "4.0.3", "purl": "pkg:generic/openssl@4.0.3?download_url=https://example.org"},
        {"name": "pyo3", "version": "0.27.0", "purl": "pkg:cargo/pyo3@0.27.0", "components": [{"name": "FreeType", "version": "2.14"}]},
        {"name": "krb5-libs", "purl": "pkg:rpm/centos/krb5-libs@1.15.1-55.el7_9"},
        {"name": "a file"},
    ]
    found = embedded.packages(SBOM, json.dumps({"components": components}))
    assert urls(found) == [
        "pkg:generic/openssl@4.0.3", "pkg:cargo/pyo3@0.27.0", "pkg:generic/FreeType@2.14", "pkg:rpm/centos/krb5-libs@1.15.1-55.el7_9",
    ]  # fmt: skip
    assert found[0].note("bookstore:bundled-in") == "cryptography-50.0.2"
    assert packages.counted(found) == {**dict.fromkeys([*packages.ECOSYSTEMS, "unknown"], 0), "cargo": 1, "other": 3}


@pytest.mark.parametrize("text", ["", "[]", '{"components": [7]}', '{"components": [{}]}', '{"components": [{"name": "x", "purl": "x"}]}'])
def test_a_wheels_document_that_cannot_be_read_is_unknown(text: str) -> None:
    assert [package.kind for package in embedded.packages(SBOM, text)] == [packages.UNKNOWN]


# Go -------------------------------------------------------------------------------------------------------------

MODULES = """\
path\tistio.io/istio/pilot/cmd/pilot-agent
mod\tbookstore.local/own\t(devel)\t
dep\tgithub.com/BurntSushi/toml\tv1.5.0\th1:abc=
dep\tk8s.io/api\tv0.0.0
=>\tk8s.io/api\tv0.34.4\th1:def=
dep\texample.org/local\tv1.0.0
=>\t./local\t(devel)\t
build\t-compiler=gc
"""


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def go_program(before: int, modules: str = MODULES) -> bytes:
    """A program whose build information begins ``before`` bytes behind its begin, and the magic as a text of it before that."""
    text = b"0" * 16 + modules.encode() + b"1" * 16
    information = golang.MAGIC + bytes([8, 2]) + bytes(16) + varint(8) + b"go1.27.3" + varint(len(text)) + text
    start = golang.ELF + bytes(60) + golang.MAGIC + bytes([0, 0])
    return start + bytes(before - len(start)) + information + bytes(1000)


def read_go(content: bytes) -> golang.Program:
    stream = io.BytesIO(content)
    return golang.read("/usr/local/bin/pilot-agent", stream.read, stream.read(golang.CHUNK))


@pytest.mark.parametrize("before", [4096, golang.CHUNK - 16, golang.CHUNK, 2 * golang.CHUNK - 32, 3 * golang.CHUNK + 64])
def test_go_modules_are_found_wherever_they_stand(before: int) -> None:
    content = go_program(before)
    program = read_go(content)
    assert program.sha256 == hashlib.sha256(content).hexdigest()
    found = golang.packages(program)
    assert urls(found) == [
        "pkg:golang/stdlib@1.27.3", "pkg:golang/github.com/BurntSushi/toml@v1.5.0", "pkg:golang/k8s.io/api@v0.34.4",
    ]  # fmt: skip
    assert found[1].note("bookstore:go:h1") == "h1:abc="
    assert found[1].note("bookstore:go:binary") == "pilot-agent"


def test_a_long_module_list_is_read_to_its_end() -> None:
    many = "".join(f"dep\texample.org/m{number}\tv1.0.{number}\th1:{'x' * 500}=\n" for number in range(5000))
    assert len(golang.packages(read_go(go_program(golang.CHUNK - 16, many)))) == 5001


def test_other_programs_have_no_modules() -> None:
    program = read_go(golang.ELF + golang.MAGIC * 1000)
    assert (program.go, golang.packages(program)) == ("", [])


# Java -----------------------------------------------------------------------------------------------------------


def jar(files: dict[str, str | bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def pom(group: str, name: str, version: str, depends: str = "") -> dict[str, str | bytes]:
    folder = f"META-INF/maven/{group}/{name}"
    document = f'<project xmlns="http://maven.apache.org/POM/4.0.0"><dependencies>{depends}</dependencies></project>'
    return {f"{folder}/pom.properties": f"#made\ngroupId={group}\nartifactId={name}\nversion={version}\n", f"{folder}/pom.xml": document}


def manifest(**entries: str) -> dict[str, str | bytes]:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in entries.items()]
    # Folded, as every tool writes it.
    return {"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\n" + "".join(line[:30] + "\r\n " + line[30:] + "\r\n" for line in lines)}


CLASS: dict[str, str | bytes] = {"org/x/A.class": b"x"}


def jars(locked: dict[str, java.Coordinates] | None = None, **archives: bytes) -> list[packages.Package]:
    return java.packages([java.read(f"/lib/{name}.jar", data) for name, data in archives.items()], locked or {})


def test_a_locked_jar_is_known_by_its_hash() -> None:
    data = jar(CLASS)
    sha256 = hashlib.sha256(data).hexdigest()
    found = jars({sha256: ("org.apache.kafka", "kafka-clients", "4.1.1")}, renamed=data)
    assert urls(found) == ["pkg:maven/org.apache.kafka/kafka-clients@4.1.1"]
    assert ("SHA-256", sha256) in found[0].hashes


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("netty-common-4.1.132.Final", pom("io.netty", "netty-common", "4.1.132.Final"), "io.netty/netty-common@4.1.132.Final"),
        ("io.netty.netty-epoll-4.1.0-linux-x86_64", pom("io.netty", "netty-epoll", "4.1.0"), "io.netty/netty-epoll@4.1.0"),
        ("com.ms.mssql-jdbc-13.2.1.jre11", pom("com.ms", "mssql-jdbc", "13.2.1"), "com.ms/mssql-jdbc@13.2.1.jre11"),
        ("keycloak", pom("org.keycloak", "keycloak-app", "26.5.4"), "org.keycloak/keycloak-app@26.5.4"),
        ("zstd-jni-1.5.6-10", manifest(Implementation_Vendor_Id="com.github.luben", Implementation_Version="1.5.6-10"),
         "com.github.luben/zstd-jni@1.5.6-10"),
        ("java-nats-2.2.3", manifest(Bundle_SymbolicName="io.nats.java-nats;singleton:=true"), "io.nats/java-nats@2.2.3"),
        ("org.ow2.asm.asm-tree-9.8", {}, "org.ow2.asm/asm-tree@9.8"),
        ("com.github.ben-manes.caffeine.caffeine-3.2.3", {}, "com.github.ben-manes.caffeine/caffeine@3.2.3"),
        ("io.otel.otel-http-4.3-2.10.0-alpha", manifest(Implementation_Version="2.10.0-alpha"), "io.otel/otel-http-4.3@2.10.0-alpha"),
    ],
)  # fmt: skip
def test_coordinates_of_a_jar(name: str, files: dict[str, str | bytes], expected: str) -> None:
    assert urls(jars(**{name: jar({**CLASS, **files})})) == [f"pkg:maven/{expected}"]


def test_the_group_is_what_the_others_name_as_their_dependency() -> None:
    depends = "<dependency><groupId>org.apache.kafka</groupId><artifactId>connect-api</artifactId></dependency>"
    found = jars(**{"debezium-1.0": jar({**CLASS, **pom("io.debezium", "debezium", "1.0", depends)}), "connect-api-4.3.0": jar(CLASS)})
    assert urls(found)[1] == "pkg:maven/org.apache.kafka/connect-api@4.3.0"


def test_an_ambiguous_group_is_not_guessed() -> None:
    other = {**CLASS, **pom("org.one", "client", "2.0")}
    another = {**CLASS, **pom("org.two", "client", "3.0")}
    found = jars(**{"client-2.0": jar(other), "client-3.0": jar(another), "client-1.0": jar(CLASS)})
    assert [package.kind for package in found] == ["maven", "maven", packages.UNKNOWN]


def test_what_was_packed_into_a_jar_is_listed() -> None:
    inner = jar({**CLASS, **manifest(Implementation_Vendor_Id="org.apache.flink", Implementation_Version="2.2.0")})
    notice = "Flink\n\n- com.google.guava:guava:33.4.0-jre\n  - io.netty:netty-all:4.1.100.Final\n- no coordinates: here\n"
    outer = jar({**CLASS, **pom("org.jctools", "jctools-core", "4.0.5"), "META-INF/NOTICE": notice, "flink-rpc.jar": inner,
                 **manifest(Implementation_Vendor_Id="org.apache.flink", Implementation_Version="2.2.0")})  # fmt: skip
    found = packages.merged(jars(**{"flink-dist-2.2.0": outer}))
    assert urls(found) == [
        "pkg:maven/com.google.guava/guava@33.4.0-jre", "pkg:maven/io.netty/netty-all@4.1.100.Final",
        "pkg:maven/org.apache.flink/flink-dist@2.2.0", "pkg:maven/org.apache.flink/flink-rpc@2.2.0",
        "pkg:maven/org.jctools/jctools-core@4.0.5",
    ]  # fmt: skip
    assert found[0].note("bookstore:maven:bundled-in") == "flink-dist-2.2.0.jar"


def test_what_cannot_be_told_is_unknown_and_never_left_out() -> None:
    found = jars(**{"broken": b"no archive", "mystery": jar(CLASS)})
    assert [(package.kind, package.note("bookstore:unknown")) for package in found] == [
        ("unknown", "File is not a zip file"), ("unknown", "no coordinates"),
    ]  # fmt: skip


def test_classes_of_our_own_are_no_package() -> None:
    ours = jar({"bookstore/cdc/Format.class": b"x", "META-INF/services/x": "y"})
    assert jars(**{"bookstore-cdc": ours, "generated-bytecode": jar(CLASS), "empty": jar({})}) == []


def test_each_package_is_listed_once_with_all_places() -> None:
    one = packages.Package("npm", "react", "1", places=frozenset({"a"}), hashes=frozenset({("SHA-1", "0")}))
    two = packages.Package("npm", "react", "1", places=frozenset({"b"}))
    assert packages.merged([one, two]) == [packages.Package("npm", "react", "1", places=frozenset({"a", "b"}), hashes=one.hashes)]
