"""Settings of the mesh map; names and defaults stand in the README."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from bookstore_common.settings import Port, ProcessSettings

SERVICE = "mesh-map"


def _is_base_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest or "/" in rest:
        raise ValueError("not scheme://host[:port] without a path")
    return value


BaseUrl = Annotated[str, AfterValidator(_is_base_url)]


class Settings(ProcessSettings):
    """Environment of ``python -m mesh_map``."""

    public_port: Port = Field(default=8000, description="a free TCP port 1-65535, for example 8000")
    prometheus_url: BaseUrl = Field(
        description="Prometheus' address, for example http://prometheus.observability.svc.cluster.local:9090"
    )
    # What Kubernetes tells every pod; an IPv6 address needs brackets.
    kubernetes_url: BaseUrl = Field(description="the API server's address, for example https://10.96.0.1:443")
    # The folder that Kubernetes mounts for an account: ca.crt and token. The token is read anew as it is renewed there.
    account_dir: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="the folder with the account's ca.crt and token",
    )
    declared_file: Path = Field(
        default=Path("/etc/bookstore/declared.json"), description="the file with declared workloads and edges"
    )
    pages_dir: Path = Field(default=Path("/srv/mesh-map"), description="the folder with the built page")
    # NoDecode: a comma list, where pydantic-settings would expect JSON.
    own_names: Annotated[tuple[str, ...], NoDecode] = Field(
        description="the Host names that are answered, for example localhost,mesh-map; addresses of loopback always are"
    )
    pod_ip: str = Field(default="", description="the pod's own address, which is answered, too")
    # The page asks every 10 s; several pages share one look.
    look_seconds: float = Field(default=5, gt=0, le=60, description="seconds for which a look counts, for example 5")
    # How soon it is known that Prometheus is away while nobody looks.
    watch_seconds: float = Field(default=15, gt=0, le=300, description="seconds between two checks, for example 15")
    patience_seconds: float = Field(default=5, gt=0, le=30, description="seconds for one answer, for example 5")

    @field_validator("own_names", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip().lower() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.public_port == self.management_port:
            raise ValueError(f"PUBLIC_PORT and MANAGEMENT_PORT must differ, not {self.public_port} twice")
        return self
