"""What a service keeps in Redis for its own next start, sealed with a key that Redis never sees.

Redis is shared: who could write there must not be able to plant a signing key, nor read a token (AES-256-GCM).
Nothing here is needed while Keycloak answers, so a store that is away or was tampered with is the same as an empty one.
"""

import base64
import binascii
import hashlib
import secrets
from typing import Any

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from bookstore_common.redis import RedisClient, RedisUnavailableError

_NONCE_BYTES = 12
_log = structlog.get_logger(__name__)


class SealedStore:
    """Small JSON documents of one service, by name."""

    def __init__(self, redis: RedisClient, seal: SecretStr) -> None:
        """``seal``: a secret of this service alone; another service's documents cannot be read with it."""
        self._redis = redis
        key = hashlib.sha256(b"bookstore sealed store\0" + seal.get_secret_value().encode()).digest()
        self._cipher = AESGCM(key)
        # Services share the Redis: each has names of its own, which tell nothing of the key.
        self._owner = hashlib.sha256(b"name\0" + key).hexdigest()[:16]

    async def put(self, name: str, document: Any, *, ttl_seconds: float) -> None:
        """Keep ``document`` for ``ttl_seconds``; without Redis it is not kept."""
        key, nonce = self._key(name), secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, orjson.dumps(document), key.encode())
        try:
            await self._redis.set(key, base64.b64encode(sealed).decode(), ttl_seconds=ttl_seconds)
        except RedisUnavailableError:  # the client logs it
            return

    async def get(self, name: str) -> Any:
        """The document, or None: there is none, Redis is away, or it was not sealed by this service."""
        key = self._key(name)
        try:
            text = await self._redis.get(key)
            if text is None:
                return None
            sealed = base64.b64decode(text, validate=True)
            content = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key.encode())
            return orjson.loads(content)
        except RedisUnavailableError:
            return None
        except (InvalidTag, binascii.Error, ValueError) as exc:
            _log.warning("sealed_document_refused", name=name, error=type(exc).__name__)
            return None

    def _key(self, name: str) -> str:
        return f"sealed:{self._owner}:{name}"
