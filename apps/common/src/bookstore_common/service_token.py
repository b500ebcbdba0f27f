"""A service's own access token, by OAuth 2.0 client credentials (RFC 6749, 4.4; SPEC 3.1: ecom-service)."""

import asyncio
import base64
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import structlog
from pydantic import Field, SecretStr

from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient, UpstreamUnavailableError
from bookstore_common.problem import DependencyUnavailableError
from bookstore_common.sealed import SealedStore
from bookstore_common.settings import BaseServiceSettings

# Renewed so long before its end.
MARGIN_SECONDS = 30
# Between attempts while Keycloak does not answer.
RETRY_SECONDS = 5
_OK = 200
_STORED = "service-token"
_log = structlog.get_logger(__name__)


class ServiceTokenSettings(BaseServiceSettings):
    """How a service signs in itself; mix into its settings."""

    oidc_token_url: str = Field(
        pattern=r"^https?://[^/\s]+/\S*$",
        description="the realm's token endpoint inside of the cluster, for example "
        "http://keycloak.identity.svc.cluster.local:8080/realms/bookstore/protocol/openid-connect/token",
    )
    service_client_id: str = Field(min_length=1, description="the service's client, for example ecom-service")
    service_client_secret: SecretStr = Field(description="the client's secret, from its Secret")


class ServiceTokenError(DependencyUnavailableError):
    """Keycloak refuses the client or answers nonsense; the log says which."""

    def __init__(self) -> None:
        super().__init__("The service cannot sign in at another; try again.", headers={"retry-after": "1"})


class ServiceToken:
    """The current token; fetched when first needed, one fetch at a time, renewed beside the requests before its end.

    While Keycloak does not answer the last token goes on, for peers accept what was valid when it last did; with a
    ``store`` also over a start.
    """

    def __init__(
        self,
        settings: ServiceTokenSettings,
        metrics: Metrics,
        *,
        store: SealedStore | None = None,
        outage_seconds: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``outage_seconds``: for how long the stored token is of use after its end. ``clock`` gives seconds."""
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        client = quote(settings.service_client_id, safe="")
        secret = quote(settings.service_client_secret.get_secret_value(), safe="")
        self._authorization = "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()
        address = urlsplit(settings.oidc_token_url)
        self._path = address.path
        self._client = OutboundClient("keycloak", f"{address.scheme}://{address.netloc}", metrics, clock=clock)
        self._store = store
        self._outage = outage_seconds
        self._clock = clock
        self._fetching: asyncio.Task[None] | None = None
        self._token = ""
        self._ends_at = float("-inf")
        # Set while Keycloak does not answer: nobody asks before.
        self._retry_at: float | None = None

    async def get(self) -> str:
        """A token that is good for some time yet, or, while Keycloak does not answer, the last one.

        Raises UpstreamUnavailableError if there is none, ServiceTokenError if Keycloak refuses; both are 503.
        """
        now = self._clock()
        if now < self._ends_at - MARGIN_SECONDS:
            return self._token
        if not self._token or (now >= self._ends_at and self._retry_at is None):
            # Shielded: one caller that goes away must not fail the others.
            await asyncio.shield(self._start())
        elif self._retry_at is None or now >= self._retry_at:
            self._start().add_done_callback(_read_failure)
        return self._token

    def forget(self) -> None:
        """A peer answered 401: the next ``get`` fetches a new one."""
        self._ends_at = float("-inf")
        self._retry_at = None

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        await self._client.close()

    def _start(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._renew(), name="service-token")
            self._fetching.add_done_callback(self._forget_task)
        return self._fetching

    def _forget_task(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _renew(self) -> None:
        try:
            await self._fetch()
        except UpstreamUnavailableError:
            if not self._token:
                await self._restore()
            if not self._token:
                raise
            if self._retry_at is None:  # the change, not each attempt
                _log.warning("service_token_kept", reason="Keycloak does not answer")
            self._retry_at = self._clock() + RETRY_SECONDS

    async def _fetch(self) -> None:
        started = self._clock()
        response = await self._client.request(
            "POST",
            self._path,
            form={"grant_type": "client_credentials"},
            headers={"authorization": self._authorization},
            idempotent=True,  # one token more does no harm
        )
        if response.status != _OK:
            _log.error("service_token_refused", status=response.status)
            raise ServiceTokenError
        content = response.json()
        fields = content if isinstance(content, dict) else {}
        token, lifetime = fields.get("access_token"), fields.get("expires_in")
        if not isinstance(token, str) or not token or isinstance(lifetime, bool) or not isinstance(lifetime, int):
            _log.error("service_token_unreadable")
            raise ServiceTokenError
        self._token = token
        self._ends_at = started + lifetime
        self._retry_at = None
        if self._store is not None:
            await self._store.put(_STORED, token, ttl_seconds=lifetime + self._outage)

    async def _restore(self) -> None:
        stored = await self._store.get(_STORED) if self._store is not None else None
        if isinstance(stored, str) and stored:
            self._token = stored


def _read_failure(task: asyncio.Task[None]) -> None:
    """Nobody waits for a renewal beside the requests: take note of its failure, which is logged where it arises."""
    if not task.cancelled():
        task.exception()
