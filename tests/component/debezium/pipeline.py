"""A broker and a Debezium Server of the platform's images, as containers on the host's network, with the roles' own settings.

Memory, options and configuration come from the rendered manifests; only addresses are replaced. Classes of our own are compiled from
the checkout, so that an older image shows nothing about newer sources.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from bookstore_common.testing.postgres import Postgres, free_port
from kafka import KafkaConsumer, TopicPartition

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker, plan

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120.0


def docker(*arguments: str, check: bool = True, timeout: float = 60) -> str:
    """Run the engine's client and return what it prints; AssertionError with its complaint when it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, f"docker {arguments[0]}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout + ("" if check else done.stderr)


def until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE_SECONDS) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.2)


@dataclass
class Container:
    """One of our own containers; removed by ``remove``."""

    name: str
    arguments: list[str]

    def start(self) -> None:
        """Run it; the one before of the same name is removed."""
        self.remove()
        docker("run", "--detach", f"--name={self.name}", "--network=host", *self.arguments)

    def remove(self) -> None:
        """End and remove it, without a farewell."""
        docker("rm", "--force", "--volumes", self.name, check=False)

    def kill(self) -> None:
        """End it as a crash does, and keep it."""
        docker("kill", "--signal=KILL", self.name)

    def restart(self) -> None:
        """Start it again, as the kubelet does."""
        docker("start", self.name)

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return docker("inspect", "--format={{.State.Running}}", self.name).strip() == "true"

    @property
    def exit_code(self) -> str:
        """Of its process, after its end."""
        return docker("inspect", "--format={{.State.ExitCode}}", self.name).strip()

    @property
    def started_at(self) -> str:
        """When its process began; another one after a restart."""
        return docker("inspect", "--format={{.State.StartedAt}}", self.name).strip()

    def log(self) -> str:
        """What it printed since it was last started."""
        return docker("logs", f"--since={self.started_at}", self.name, check=False)


class Manifests:
    """The roles' manifests, rendered by Ansible with the inventory and the defaults."""

    def __init__(self, folder: Path, ansible: Path) -> None:
        self._documents: list[dict[str, Any]] = []
        for role, template in (("kafka", "kafka.yml.j2"), ("debezium", "debezium.yml.j2")):
            target = folder / f"{role}.yml"
            command = [
                str(ansible), "all", "--inventory=inventory/local", "--module-name=ansible.builtin.template",
                f"--args=src=roles/{role}/templates/{template} dest={target}", f"--extra-vars=@roles/{role}/defaults/main.yml",
                # Without the images of a run.
                "--extra-vars=bookstore_render_only=true",
                # lookup('file') looks beside the playbook.
                f"--playbook-dir=roles/{role}",
            ]  # fmt: skip
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
            self._documents += [one for one in yaml.safe_load_all(target.read_text(encoding="utf-8")) if one]

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return the only manifest of that kind and name."""
        (found,) = [one for one in self._documents if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found

    def container(self, kind: str, name: str) -> dict[str, Any]:
        """Return the container of a workload."""
        container: dict[str, Any] = self.find(kind, name)["spec"]["template"]["spec"]["containers"][0]
        return container


def limits(container: dict[str, Any]) -> list[str]:
    """The engine's arguments for a container's limits; no swap, as in the cluster."""
    memory = container["resources"]["limits"]["memory"].replace("Mi", "m")
    processors = str(container["resources"]["limits"]["cpu"])
    cpus = int(processors[:-1]) / 1000 if processors.endswith("m") else float(processors)
    return [f"--memory={memory}", f"--memory-swap={memory}", f"--cpus={cpus}"]


def mounted_agent(classes: dict[str, Path]) -> str:
    """The engine's argument for the agent of the recipe, which an older image lacks."""
    return f"--volume={classes['agent']}:/opt/jmx/agent.jar:ro"


def told_at(container: dict[str, Any], port: int) -> list[str]:
    """Return the container's command with its metrics at ``port``: all containers share the host's network."""
    (declared,) = [one["containerPort"] for one in container["ports"] if one["name"] == "metrics"]
    moved = [str(word).replace(f"/opt/jmx/agent.jar={declared}:", f"/opt/jmx/agent.jar={port}:") for word in container["command"]]
    assert moved != container["command"], "no agent is started"
    return moved


def compiled(image: str, compiler: Path, sources: Path, jars: str, target: Path) -> Path:
    """Compile the Java sources of a folder with the image's own jars and runtime; the folder of classes."""
    target.mkdir()
    target.chmod(0o777)  # the image's user writes
    shell = f"java -jar /compiler.jar --release 21 -nowarn -cp \"$(echo {jars} | tr ' ' ':')\" -d /target /sources"
    docker(
        "run", "--rm", f"--volume={compiler}:/compiler.jar:ro", f"--volume={sources}:/sources:ro", f"--volume={target}:/target",
        image, "sh", "-euc", shell, timeout=120,
    )  # fmt: skip
    return target


class Kafka:
    """The broker. ``empty`` begins with a new volume."""

    def __init__(self, manifests: Manifests, image: str, classes: dict[str, Path], folder: Path, name: str) -> None:
        self._manifests, self._image, self._folder = manifests, image, folder
        self.metrics = free_port()
        self._ports = {"MESH": free_port(), "CONTROLLER": free_port(), "LOCAL": free_port()}
        self.address = f"127.0.0.1:{self._ports['MESH']}"
        self.local = f"127.0.0.1:{self._ports['LOCAL']}"
        workload = manifests.container("StatefulSet", "kafka")
        configuration = manifests.find("ConfigMap", "kafka")["data"]
        (folder / "etc").mkdir(parents=True)
        for file, text in configuration.items():
            (folder / "etc" / file).write_text(self._moved(text), encoding="utf-8")
        (prepare,) = manifests.find("StatefulSet", "kafka")["spec"]["template"]["spec"]["initContainers"]
        environment = [f"--env={one['name']}={one['value']}" for one in prepare["env"]]
        shell = 'sh /etc/bookstore/prepare.sh && exec "$@"'
        self.container = Container(name, [
            *limits(workload), "--read-only", "--tmpfs=/tmp", f"--volume={folder}/etc:/etc/bookstore:ro",
            f"--volume={folder}/data:/var/lib/kafka", f"--volume={classes['kafka']}:/opt/kafka/tools:ro", mounted_agent(classes),
            *environment, image, "sh", "-euc", shell, "sh", *told_at(workload, self.metrics),
        ])  # fmt: skip

    def _moved(self, text: str) -> str:
        port = self._manifests.container("StatefulSet", "kafka")["ports"][0]["containerPort"]
        text = text.replace(f"MESH://:{port}", f"MESH://127.0.0.1:{self._ports['MESH']}")
        text = re.sub(r"(?<=advertised.listeners=)MESH://[^,]+", f"MESH://{self.address}", text)
        text = text.replace("127.0.0.1:9093", f"127.0.0.1:{self._ports['CONTROLLER']}")
        return text.replace("127.0.0.1:9094", self.local)

    def empty(self) -> None:
        """Start it with nothing on its volume."""
        self.remove()
        (self._folder / "data").mkdir()
        (self._folder / "data").chmod(0o777)  # the image's user writes
        self.start()

    def remove(self) -> None:
        """End it, and remove what it wrote, which belongs to its user."""
        self.container.remove()
        if (self._folder / "data").exists():
            docker("run", "--rm", "--user=0:0", f"--volume={self._folder}:/folder", self._image, "rm", "-rf", "/folder/data")

    def start(self) -> None:
        """Start it with what its volume holds, and wait until it answers."""
        self.container.start()
        until(lambda: "Kafka Server started" in self.container.log() or not self.container.running, "the broker to start")
        assert self.container.running, self.container.log()[-4000:]

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        """Stand in for the cluster: run the tool as it is run in the pod."""
        assert (namespace, pod, container) == ("infra", "kafka-0", "kafka")
        place = command.index("KafkaOps")
        moved = [*command[:place], f"-Dkafkaops.server={self.local}", *command[place:]]
        done = subprocess.run(["docker", "exec", self.container.name, *moved], capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-2000:]}"
        return done.stdout

    @property
    def tool(self) -> Broker:
        """The broker's own tool, with the options and the memory that it has in the cluster."""
        return Broker(self, 120)  # type: ignore[arg-type] # a part of a Cluster

    def make_topics(self) -> None:
        """What ``make up`` does: bring the topics to their declaration."""
        topics = yaml.safe_load((ROOT / "inventory/local/group_vars/all/topics.yml").read_text(encoding="utf-8"))["bookstore_topics"]
        steps = plan(topics, self.tool.describe()["topics"])
        self.tool.call("apply", steps.document())

    def read_all(self, topic: str) -> list[Any]:
        """All records that a topic holds, one partition after the other."""
        count = self.tool.describe()["topics"][topic]["partitions"]
        return [record for number in range(count) for record in self.read(topic, number)]

    def read(self, topic: str, number: int = 0) -> list[Any]:
        """All records that a partition of a topic holds."""
        consumer = KafkaConsumer(bootstrap_servers=[self.address], group_id=None, enable_auto_commit=False)
        try:
            partition = TopicPartition(topic, number)
            consumer.assign([partition])
            consumer.seek_to_beginning(partition)
            end = consumer.end_offsets([partition])[partition]
            found: list[Any] = []
            deadline = time.monotonic() + PATIENCE_SECONDS
            while consumer.position(partition) < end:
                assert time.monotonic() < deadline, f"{topic}: read up to {consumer.position(partition)} of {end}"
                for records in consumer.poll(500).values():
                    found += records
            return found
        finally:
            consumer.close()


@dataclass
class Debezium:
    """The server of source ecom, for a database and a broker."""

    manifests: Manifests
    image: str
    classes: dict[str, Path]
    folder: Path
    postgres: Postgres
    database: str
    kafka: Kafka
    name: str
    port: int = field(default_factory=free_port)
    door: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        workload = self.manifests.container("Deployment", "debezium-ecom")
        configuration = self.manifests.find("ConfigMap", "debezium-ecom")["data"]
        text = configuration["application.properties"]
        (self.folder / "metrics.yml").write_text(configuration["metrics.yml"], encoding="utf-8")
        prefix = "debezium.source.database."
        moved = {
            f"{prefix}hostname": "127.0.0.1", f"{prefix}port": str(self.postgres.port), f"{prefix}dbname": self.database,
            "debezium.sink.kafka.producer.bootstrap.servers": self.kafka.address, "debezium.source.bootstrap.servers": self.kafka.address,
            "quarkus.http.port": str(self.port), "door.port": str(self.door),
        }  # fmt: skip
        kept = [line for line in text.splitlines() if line.partition("=")[0] not in moved]
        lines = [*kept, *(f"{key}={value}" for key, value in moved.items())]
        (self.folder / "application.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")
        environment = self.folder.parent / f"{self.folder.name}.env"
        environment.touch(0o600)
        environment.write_text(f"DATABASE_USER=ecom_cdc\nDATABASE_PASSWORD={self.postgres.role_passwords['ecom_cdc']}\n", encoding="utf-8")
        self.container = Container(self.name, [
            *limits(workload), "--read-only", "--tmpfs=/tmp", f"--volume={self.folder}:/opt/debezium/config:ro",
            f"--volume={self.classes['debezium']}:/opt/guard:ro", mounted_agent(self.classes), f"--env-file={environment}", self.image,
            *told_at(workload, self.metrics),
        ])  # fmt: skip

    def first_snapshot(self) -> None:
        """Start it, and wait until its first snapshot is compared with the source and it streams."""
        self.container.start()
        until(lambda: self.compared() or not self.container.running, "the first snapshot")
        self.catch_up()

    def compared(self) -> bool:
        """Whether a new snapshot since the last start is finished, and compared with the source."""
        return self.guard_says("compared with the source after a new snapshot")

    def catch_up(self, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until everything that the source's log holds now is published; AssertionError with the log when the server ended."""
        with self.postgres.connect(self.database) as connection:
            # What is inserted, not what is written: this server writes the commits of others up to a second late.
            (target,) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
            # Without a change behind it an idle server confirms a position only with its next heartbeat.
            connection.execute("UPDATE cdc_heartbeat SET ts = now()")
        deadline = time.monotonic() + timeout
        while not self._past(str(target)):
            assert self.container.running, f"the server ended with {self.container.exit_code}:\n{self.telling()}"
            assert time.monotonic() < deadline, f"not at {target} after {timeout:.0f} s:\n{self.telling()}"
            time.sleep(0.2)

    def telling(self) -> str:
        """What the guard printed, warnings and errors, and the last lines of all."""
        lines = self.container.log().splitlines()
        told = [line for line in lines if '"loggerName":"guard"' in line or '"level":"WARN"' in line or '"level":"ERROR"' in line]
        return "\n".join(line[:1000] for line in [*told[-30:], "...", *lines[-5:]])

    def _past(self, position: str) -> bool:
        with self.postgres.connect() as connection:
            query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'debezium_ecom_slot' AND active"
            row = connection.execute(query, (position,)).fetchone()
        return bool(row and row[0])

    def reads(self) -> bool:
        """Whether it reads its slot."""
        with self.postgres.connect() as connection:
            row = connection.execute("SELECT active FROM pg_replication_slots WHERE slot_name = 'debezium_ecom_slot'").fetchone()
        return bool(row and row[0])

    def guard_says(self, text: str) -> bool:
        """Whether the guard printed a line that holds ``text``."""
        return any(text in line for line in self.container.log().splitlines() if '"loggerName":"guard"' in line)


def newest_image(name: str) -> str | None:
    """The newest image of the platform's component that this host has."""
    if not shutil.which("docker"):
        return None
    listed = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", f"bookstore.local/{name}").split()
    return listed[0] if listed else None


def values(records: list[Any]) -> list[dict[str, Any]]:
    """The documents of those records that have one."""
    return [json.loads(one.value) for one in records if one.value]
