"""The Kubernetes API, as far as the map asks it: reads with the pod's own account, which may read only."""

import ssl
from pathlib import Path
from typing import Any

import httpx2
import orjson

Object = dict[str, Any]
COLLECTIONS = {
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/pods",
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
}
# Pages of a list: a large cluster must not become one large answer.
_PAGE = 250
_MOST_PAGES = 40
_OK, _NOT_FOUND = 200, 404


class KubernetesError(Exception):
    """The API server does not answer, or refuses; the text says which."""


class Kubernetes:
    """A client. Every method raises KubernetesError."""

    def __init__(self, url: str, account: Path, patience_seconds: float) -> None:
        self._token = account / "token"
        authority = account / "ca.crt"
        # In tests the server speaks plain HTTP and there is no authority.
        trust = ssl.create_default_context(cafile=str(authority) if authority.is_file() else None)
        self._client = httpx2.AsyncClient(
            base_url=url, verify=trust, timeout=httpx2.Timeout(patience_seconds, connect=2), trust_env=False,
            follow_redirects=False,
        )  # fmt: skip

    async def objects(self, kind: str) -> list[Object]:
        """All objects of a kind, in all namespaces."""
        found: list[Object] = []
        parameters = {"limit": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            answer = await self._get(COLLECTIONS[kind], parameters)
            if answer is None:
                return found
            found += [item for item in answer.get("items") or [] if isinstance(item, dict)]
            following = (answer.get("metadata") or {}).get("continue")
            if not following:
                return found
            parameters = {"limit": str(_PAGE), "continue": following}
        raise KubernetesError(f"the API server has more than {_PAGE * _MOST_PAGES} objects of kind {kind}")

    async def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Data of a ConfigMap, empty when it does not exist."""
        found = await self._get(f"/api/v1/namespaces/{namespace}/configmaps/{name}", {})
        return {key: str(value) for key, value in ((found or {}).get("data") or {}).items()}

    async def close(self) -> None:
        await self._client.aclose()

    async def _get(self, path: str, parameters: dict[str, str]) -> Object | None:
        headers = {"accept": "application/json"}
        try:
            # It is renewed while the pod runs.
            headers["authorization"] = f"Bearer {self._token.read_text(encoding='utf-8').strip()}"
            response = await self._client.get(path, params=parameters, headers=headers)
        except httpx2.HTTPError as error:
            raise KubernetesError("the API server does not answer") from error
        except OSError as error:
            raise KubernetesError("the account's token cannot be read") from error
        if response.status_code == _NOT_FOUND:
            return None
        if response.status_code != _OK:
            raise KubernetesError(f"the API server refuses {path} (status {response.status_code})")
        try:
            answer: Object = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise KubernetesError(f"the API server answers {path} with something unreadable") from error
        return answer
