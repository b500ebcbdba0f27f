"""A service's own access token, by OAuth 2.0 client credentials (RFC 6749, 4.4; SPEC 3.1: ecom-service)."""

import asyncio
import base64
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import structlog
from pydantic import Field, SecretStr

from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient
from bookstore_common.problem import DependencyUnavailableError
from bookstore_common.settings import BaseServiceSettings

# Renewed so long before its end.
MARGIN_SECONDS = 30
_OK = 200
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
    """The current token; fetched when first needed, one fetch at a time, kept until 30 s before its end."""

    def __init__(
        self, settings: ServiceTokenSettings, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` gives seconds."""
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        client = quote(settings.service_client_id, safe="")
        secret = quote(settings.service_client_secret.get_secret_value(), safe="")
        self._authorization = "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()
        address = urlsplit(settings.oidc_token_url)
        self._path = address.path
        self._client = OutboundClient("keycloak", f"{address.scheme}://{address.netloc}", metrics, clock=clock)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = float("-inf")

    async def get(self) -> str:
        """A token that is good for some time yet.

        Raises UpstreamUnavailableError if Keycloak does not answer, ServiceTokenError if it refuses; both are 503.
        """
        if self._clock() < self._renew_at:
            return self._token
        async with self._lock:
            if self._clock() >= self._renew_at:
                await self._fetch()
            return self._token

    def forget(self) -> None:
        """A peer answered 401: the next ``get`` fetches a new one."""
        self._renew_at = float("-inf")

    async def close(self) -> None:
        await self._client.close()

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
        self._renew_at = started + max(0, lifetime - MARGIN_SECONDS)
