"""What ends at Keycloak ends in the services within seconds; guessed passwords; one guest beside another."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2
import pytest

from .conftest import API, PLACES
from .people import Account, People
from .signin import Hidden, Shopper, SignInError, problem_of
from .tls import Trust
from .waiting import until

REFUSED = (401, "unauthenticated")
# Within so many seconds (docs/reliability.md).
SESSIONS_SECONDS = 5
ACCOUNT_SECONDS = 10
GUESSES = 5
SEARCHES = 120

Signing = Callable[[Account], Shopper]


@pytest.fixture
def signing(trust: Trust) -> Signing:
    """Signs an account in once more, as on another device."""
    return lambda account: Shopper(trust, PLACES, account.username, account.password)


def refused(shopper: Shopper, method: str, path: str, body: object = None) -> bool:
    """Whether the services refuse the access token that the shopper has, which is not renewed meanwhile."""
    answer = shopper.send(method, path, body)
    return answer.status_code == 401 and problem_of(answer) == REFUSED


@pytest.mark.parametrize("way", ["administrator", "account page"])
def test_all_five_sessions_end(people: People, signing: Signing, way: str) -> None:
    """Keycloak itself tells the services of the first one only."""
    account = people.account()
    devices = [signing(account) for _ in range(5)]
    bystander = people.customer()
    try:
        assert len({device.tokens.claims["sid"] for device in devices}) == 5
        for device in devices:
            device.csrf()
            assert not refused(device, "GET", "/ecom/cart")
        if way == "administrator":
            people.end_sessions(account.sub)
        else:
            people.end_sessions_by_account_page(devices[0])
        until(lambda: all(refused(device, "GET", "/ecom/cart") for device in devices), "5 refused tokens", SESSIONS_SECONDS)
        for device in devices:
            assert refused(device, "DELETE", "/ecom/cart")
        assert not refused(bystander, "GET", "/ecom/cart")
    finally:
        for device in devices:
            device.client.close()


@pytest.mark.parametrize("change", ["delete", "disable", "withdraw_admin", "reset_password"])
def test_an_administrators_running_token_ends(people: People, change: str) -> None:
    admin = people.administrator()
    admin.csrf()
    # Let in, and told that a book needs more than that.
    assert admin.send("POST", "/admin/books", {}).status_code == 422
    getattr(people, change)(admin.sub)
    until(lambda: refused(admin, "POST", "/admin/books", {}), f"a refused token after {change}", ACCOUNT_SECONDS)
    assert refused(admin, "DELETE", "/ecom/cart")
    if change != "withdraw_admin":
        with pytest.raises(SignInError):
            admin.refresh()
        return

    def renewed() -> bool:
        admin.refresh()
        return admin.get("/ecom/cart").status_code == 200

    # Who is still a customer goes on as one, with the next token.
    until(renewed, "a token of after the change", ACCOUNT_SECONDS, pause=1)
    assert problem_of(admin.send("POST", "/admin/books", {})) == (403, "forbidden")


def test_four_wrong_passwords_in_a_hurry_lock_nobody_out(people: People, signing: Signing) -> None:
    account = people.account()
    guess(signing, account, GUESSES - 1)
    signing(account).client.close()


def test_five_wrong_passwords_lock_for_a_minute(people: People, signing: Signing) -> None:
    account = people.account()
    guess(signing, account, GUESSES)
    with pytest.raises(SignInError):
        signing(account)


def guess(signing: Signing, account: Account, times: int) -> None:
    """Enter wrong passwords into the sign-in form."""
    for number in range(times):
        with pytest.raises(SignInError):
            signing(Account(account.sub, account.username, Hidden(f"wrong password {number}")))


def search(client: httpx2.Client, **headers: str) -> int:
    return client.get(f"{API}/ecom/books/search", params={"q": "a"}, headers=headers).status_code


def test_one_guest_does_not_stop_another(trust: Trust) -> None:
    """Also from one host: behind an address translator each connection counts for itself (see apps/common/README.md)."""
    with trust.client(timeout=15) as greedy, trust.client(timeout=15) as other:
        began = time.monotonic()
        answers = [search(greedy) for _ in range(SEARCHES + 1)]
        assert time.monotonic() - began < 60, "too slow to judge: the window has moved"
        assert answers[-1] == 429
        # Nothing that a client sends chooses another bucket.
        forged = {"X-Client-Address": "9.9.9.9:1", "X-Forwarded-For": "9.9.9.9", "X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9"}
        assert search(greedy, **forged) == 429
        assert search(other) == 200
