"""What may be missing for ten minutes, and what people are told meanwhile: written once, for the tests and for docs/reliability.md."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

from ..declared import WORKLOADS

GATEWAY = "bookstore-gateway-istio"
# What somebody does, and without which components it cannot be done. Without any other one it is answered as ever. Services find each
# other and their databases by name: a new connection needs CoreDNS.
NEEDS = {
    "shop page": {GATEWAY, "storefront-web"},
    "books": {GATEWAY, "ecom-api", "ecom-db", "coredns"},
    "put into cart": {GATEWAY, "ecom-api", "ecom-db", "redis", "coredns"},
    "checkout": {GATEWAY, "ecom-api", "ecom-db", "redis", "inventory-api", "inventory-db", "coredns"},
    "own orders": {GATEWAY, "ecom-api", "ecom-db", "coredns"},
    "all orders": {GATEWAY, "admin-api", "ecom-api", "ecom-db", "coredns"},
    # With titles, which are E-Commerce's.
    "stock": {GATEWAY, "admin-api", "inventory-api", "inventory-db", "ecom-api", "ecom-db", "coredns"},
}
# What may be said instead of an answer: a server's error that names its cause and may be tried again. Never 500 (nobody thought of it),
# 401 or 403 (it was not checked, so it is not refused), nor an answer that is wrong.
AWAY = {502, 503, 504}


@dataclass(frozen=True)
class Component:
    """A workload by kind, namespace and name.

    ``label`` selects its pods where they have none of the usual kind; ``keeper`` names a Deployment (namespace, name) that would bring
    it back at once, and is away with it.
    """

    kind: str
    namespace: str
    name: str
    label: str = ""
    keeper: tuple[str, str] | None = None

    @property
    def id(self) -> str:
        """As the table names it."""
        return self.name

    def tolerated(self, activity: str) -> bool:
        """Whether the activity may be answered with one of AWAY while this is missing."""
        return self.name in NEEDS[activity]


# How pods are found that have no label of the usual kind, and who would bring a Deployment back at once: istiod the gateway's.
LABELS = {
    GATEWAY: f"gateway.networking.k8s.io/gateway-name={GATEWAY.removesuffix('-istio')}",
    "istiod": "app=istiod",
    "coredns": "k8s-app=kube-dns",
}
KEEPERS = {GATEWAY: ("istio-system", "istiod")}
# Every workload that verify expects.
COMPONENTS = tuple(
    Component(row["kind"], row["namespace"], row["name"], LABELS.get(row["name"], ""), KEEPERS.get(row["name"]))
    for row in workload_table.expected(WORKLOADS)
)

# Absences that are no workload; docs/reliability.md has a row for each of these, too.
OTHERS = ("a worker node", "the nodes' registry")

# Tokens live for half of the ten minutes: whoever stays must have them renewed, or be believed without.
RENEW = "renew tokens"
NEEDS[RENEW] = {GATEWAY, "keycloak", "keycloak-db", "coredns"}
# Keycloak's own words when its database is away. The shop keeps the session over any 5xx, and ends it over a refusal.
KEYCLOAK_AWAY = AWAY | {500}
