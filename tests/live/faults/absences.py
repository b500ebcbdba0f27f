"""What may be missing for ten minutes, and what people are told meanwhile: written once, for the tests and for docs/reliability.md."""

from __future__ import annotations

from dataclasses import dataclass

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


COMPONENTS = (
    Component("StatefulSet", "ecom", "ecom-db"),
    Component("StatefulSet", "inventory", "inventory-db"),
    Component("StatefulSet", "identity", "keycloak-db"),
    Component("StatefulSet", "analytics", "analytics-db"),
    Component("StatefulSet", "infra", "redis"),
    Component("StatefulSet", "infra", "kafka"),
    Component("Deployment", "infra", "debezium-ecom"),
    Component("Deployment", "infra", "debezium-inventory"),
    Component("StatefulSet", "analytics", "flink-jobmanager"),
    Component("StatefulSet", "analytics", "flink-taskmanager"),
    Component("Deployment", "analytics", "mv-refresher"),
    Component("Deployment", "analytics", "superset"),
    Component("Deployment", "identity", "keycloak"),
    Component("Deployment", "ecom", "ecom-api"),
    Component("Deployment", "ecom", "ecom-worker"),
    Component("Deployment", "inventory", "inventory-api"),
    Component("Deployment", "inventory", "inventory-worker"),
    Component("Deployment", "admin", "admin-api"),
    Component("Deployment", "storefront", "storefront-web"),
    Component(
        "Deployment",
        "gateway",
        GATEWAY,
        label=f"gateway.networking.k8s.io/gateway-name={GATEWAY.removesuffix('-istio')}",
        keeper=("istio-system", "istiod"),
    ),
    Component("Deployment", "istio-system", "istiod", label="app=istiod"),
    Component("Deployment", "kube-system", "coredns", label="k8s-app=kube-dns"),
)

# What no manifest of a role holds: istioctl, Istio's gateway controller and kubeadm make them.
MADE_BY_OTHERS = {GATEWAY, "istiod", "coredns"}
# Absences that are no workload; docs/reliability.md has a row for each of these, too.
OTHERS = ("a worker node", "the nodes' registry")

# Tokens live for half of the ten minutes: whoever stays must have them renewed, or be believed without.
RENEW = "renew tokens"
NEEDS[RENEW] = {GATEWAY, "keycloak", "keycloak-db", "coredns"}
# Keycloak's own words when its database is away. The shop keeps the session over any 5xx, and ends it over a refusal.
KEYCLOAK_AWAY = AWAY | {500}
