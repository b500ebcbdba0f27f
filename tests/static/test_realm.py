"""What the declared realms say of guessed passwords, of events, and of whom Keycloak tells that tokens ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

IMAGE = "roles/keycloak/images/keycloak"
LISTENER = "components/keycloak-session-endings/src"
REALMS = ["__keycloak_realm_settings", "__keycloak_admin_settings"]


@pytest.fixture(scope="module")
def declared(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "roles/keycloak/vars/main/realm.yml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("realm", REALMS)
def test_five_wrong_passwords_lock_for_a_minute_and_two_quick_ones_do_not(declared: dict[str, Any], realm: str) -> None:
    """Every value that Keycloak decides by is declared: one that is not has a default that nobody chose."""
    settings = declared[realm]
    assert {name: settings[name] for name in settings if name in GUESSING} == GUESSING


# Keycloak locks for waitIncrementSeconds * (failures // failureFactor), and otherwise for minimumQuickLoginWaitSeconds when two
# failures are less than quickLoginCheckMilliSeconds apart.
GUESSING = {
    "bruteForceProtected": True, "bruteForceStrategy": "MULTIPLE", "permanentLockout": False, "maxTemporaryLockouts": 0,
    "failureFactor": 5, "waitIncrementSeconds": 60, "maxFailureWaitSeconds": 900, "maxDeltaTimeSeconds": 3600,
    "quickLoginCheckMilliSeconds": 0, "minimumQuickLoginWaitSeconds": 60,
}  # fmt: skip


@pytest.mark.parametrize("realm", REALMS)
def test_events_are_kept_and_bounded(declared: dict[str, Any], root: Path, realm: str) -> None:
    settings = declared[realm]
    defaults = yaml.safe_load((root / "roles/keycloak/defaults/main.yml").read_text(encoding="utf-8"))
    assert (settings["eventsEnabled"], settings["adminEventsEnabled"]) == (True, True)
    # Representations may hold secrets, and have no bound.
    assert settings["adminEventsDetailsEnabled"] is False
    assert "keycloak_events_seconds" in settings["eventsExpiration"]
    assert "keycloak_admin_events_seconds" in settings["attributes"]["adminEventsExpiration"]
    assert defaults["keycloak_admin_events_seconds"] == 30 * 86400
    # An attribute is a text: a number would differ from what the server answers, at every run.
    assert "| string" in settings["attributes"]["adminEventsExpiration"]
    assert {"LOGIN_ERROR", "LOGOUT", "USER_DISABLED_BY_TEMPORARY_LOCKOUT"} <= set(settings["enabledEventTypes"])
    assert not {"REFRESH_TOKEN", "CODE_TO_TOKEN", "CLIENT_LOGIN"} & set(settings["enabledEventTypes"])


def test_administrators_passwords_have_a_policy(declared: dict[str, Any]) -> None:
    assert declared["__keycloak_admin_settings"]["passwordPolicy"] == declared["__keycloak_realm_settings"]["passwordPolicy"]


def test_the_realms_listener_is_the_images(declared: dict[str, Any], committed: dict[str, str]) -> None:
    """A listener that the realm names and the server lacks is left out in silence."""
    (name,) = set(declared["__keycloak_realm_settings"]["eventsListeners"]) - {"jboss-logging"}
    service = committed[f"{LISTENER}/META-INF/services/org.keycloak.events.EventListenerProviderFactory"].strip()
    source = committed[f"{LISTENER}/{service.rpartition('.')[2]}.java"]
    assert f'return "{name}";' in source
    assert f"package {service.rpartition('.')[0]};" in source
    assert "COPY listener " in committed[f"{IMAGE}/Containerfile"]
    assert "/opt/keycloak/providers/" in committed[f"{IMAGE}/Containerfile"]


def test_services_and_listener_mean_the_same_by_everybody(committed: dict[str, str]) -> None:
    event = "urn:bookstore:event:every-session-ended"
    for path in (f"{LISTENER}/Deliveries.java", "apps/common/src/bookstore_common/tokens.py"):
        assert f'EVERYBODY{"_EVENT" if path.endswith("py") else ""} = "{event}"' in committed[path], path
