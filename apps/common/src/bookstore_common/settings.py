"""Settings from environment variables, and errors that name each bad variable (SPEC 2: nothing is hardcoded)."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL

Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(Exception):
    """The environment is unusable; the text has one line per bad variable and never a secret's value."""


class BaseServiceSettings(BaseSettings):
    """Reads plain upper-case names such as ``LOG_LEVEL``; an empty value counts as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True)

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    log_format: Literal["json", "console"] = Field(default="json", description="json (cluster) or console (desk)")


class ProcessSettings(BaseServiceSettings):
    """The management listener and the end of a process; all that a worker listens on."""

    listen_host: str = Field(default="0.0.0.0", description="the address to listen on, for example 0.0.0.0")  # noqa: S104 # a pod is reached by its address; policies decide who may
    management_port: Port = Field(default=8002, description="a free TCP port 1-65535, for example 8002")
    keep_alive_seconds: int = Field(
        default=3700,
        ge=1,
        description="seconds above the proxy's idle timeout (Envoy: 3600), so that it closes first",
    )
    shutdown_lame_duck_seconds: float = Field(
        default=5, ge=0, le=60, description="seconds between not ready and closed, for example 5"
    )
    shutdown_drain_seconds: int = Field(
        default=20, ge=0, le=300, description="seconds granted to running requests, for example 20"
    )
    readiness_timeout_seconds: float = Field(
        default=2, gt=0, le=30, description="seconds per readiness check, for example 2"
    )


class ServerSettings(ProcessSettings):
    """The listeners of a service, and who may call them from a browser."""

    public_port: Port = Field(default=8000, description="a free TCP port 1-65535, for example 8000")
    internal_port: Port = Field(default=8001, description="a free TCP port 1-65535, for example 8001")
    # NoDecode: a comma list, where pydantic-settings would expect JSON.
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        description="the shop's origin, for example https://shop.bookstore.test:30000; several separated by commas"
    )

    @field_validator("cors_allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, separator, rest = origin.partition("://")
            if scheme not in {"http", "https"} or not separator or not rest or "/" in rest or "*" in rest:
                raise ValueError(f"{origin!r} is not an origin (scheme://host[:port], no path, no wildcard)")
        return value

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        ports = (self.public_port, self.internal_port, self.management_port)
        if len(set(ports)) != len(ports):
            raise ValueError(f"PUBLIC_PORT, INTERNAL_PORT and MANAGEMENT_PORT must differ, not {ports}")
        return self


class DatabaseSettings(BaseServiceSettings):
    """One PostgreSQL database and how patient to be with it."""

    database_host: str = Field(description="the database's host name, for example ecom-db.ecom.svc")
    database_port: Port = Field(default=5432, description="a TCP port 1-65535, for example 5432")
    database_name: str = Field(description="the database's name, for example ecomdb")
    database_user: str = Field(description="the role to sign in as, for example ecom_app")
    database_password: SecretStr = Field(description="the role's password, from its Secret")
    database_sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="disable, prefer (the mesh encrypts), require, verify-ca or verify-full"
    )
    database_pool_size: int = Field(default=10, ge=1, le=200, description="connections kept, for example 10")
    database_pool_max_overflow: int = Field(
        default=0, ge=0, le=200, description="connections beyond the pool, for example 0"
    )
    database_pool_timeout_seconds: float = Field(
        default=3, gt=0, le=60, description="seconds to wait for a connection, for example 3"
    )
    database_pool_recycle_seconds: int = Field(
        default=1800, ge=30, description="a connection's greatest age in seconds, for example 1800"
    )
    database_connect_timeout_seconds: int = Field(
        default=3, ge=2, le=60, description="seconds (libpq: at least 2), for example 3"
    )
    database_command_timeout_seconds: float = Field(
        default=5, gt=0, le=600, description="seconds per statement, for example 5"
    )

    def database_url(self) -> URL:
        """URL for SQLAlchemy with psycopg 3; ``str()`` of it masks the password."""
        return URL.create(
            "postgresql+psycopg",
            username=self.database_user,
            password=self.database_password.get_secret_value(),
            host=self.database_host,
            port=self.database_port,
            database=self.database_name,
        )


def secrets_of(settings: BaseServiceSettings) -> list[str]:
    """The values of all secrets that are set."""
    values = (getattr(settings, name) for name in type(settings).model_fields)
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


SettingsT = TypeVar("SettingsT", bound=BaseServiceSettings)


def load_settings(cls: type[SettingsT]) -> SettingsT:
    """Read ``cls`` from the environment.

    Raises SettingsError with one line per bad variable: its name, its value (unless secret), what to write instead.
    """
    try:
        return cls()
    except ValidationError as exc:
        lines = [_explain(error, cls) for error in exc.errors(include_url=False)]
    # Outside the except block: pydantic's own text, which the chained exception would print, quotes values.
    raise SettingsError("\n".join(lines))


def _explain(error: ErrorDetails, cls: type[BaseServiceSettings]) -> str:
    if not error["loc"]:  # a rule over several variables; its text names them
        return error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0])
    field = cls.model_fields[name]
    advice = f"write {field.description}" if field.description else "see the settings table in the README"
    if error["type"] == "missing":
        return f"{name.upper()}: not set; {advice}"
    value = "the value" if field.annotation is SecretStr else repr(error["input"])
    return f"{name.upper()}: {value} is wrong ({error['msg'].removeprefix('Value error, ')}); {advice}"
