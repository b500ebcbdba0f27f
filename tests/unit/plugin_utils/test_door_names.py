"""Names of host doors."""

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import doors


def test_this_host_and_every_way_to_write_a_service() -> None:
    assert doors.names("infra", ["one", "two"]) == [
        "localhost",
        "one", "one.infra", "one.infra.svc", "one.infra.svc.cluster.local",
        "two", "two.infra", "two.infra.svc", "two.infra.svc.cluster.local",
    ]  # fmt: skip


@pytest.mark.parametrize(("namespace", "services"), [("", ["one"]), ("infra", []), ("infra", ["one", ""])])
def test_a_door_without_a_service_is_refused(namespace: str, services: list[str]) -> None:
    with pytest.raises(ValueError, match="name the namespace and at least one Service"):
        doors.names(namespace, services)
