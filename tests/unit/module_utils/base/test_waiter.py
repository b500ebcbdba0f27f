"""Bounded waiting, with a clock of our own."""

from __future__ import annotations

import pytest
from fakes import FakeClock

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter


def test_done_at_once_does_not_sleep() -> None:
    clock = FakeClock()
    outcome = waiter.wait_for(lambda: 7, lambda v: v == 7, timeout=0, clock=clock)
    assert (outcome.value, outcome.done, outcome.elapsed, clock.slept) == (7, True, 0, [])


def test_polls_until_done() -> None:
    clock, values = FakeClock(), iter([1, 2, 3])
    outcome = waiter.wait_for(lambda: next(values), lambda v: v == 3, timeout=10, interval=0.5, clock=clock)
    assert (outcome.value, outcome.done, outcome.elapsed) == (3, True, 1.0)


def test_looks_once_more_at_the_deadline() -> None:
    clock, polls = FakeClock(), []
    outcome = waiter.wait_for(lambda: polls.append(clock.now), lambda _: False, timeout=1.2, interval=0.5, clock=clock)
    assert not outcome.done
    assert polls == [100.0, 100.5, 101.0, pytest.approx(101.2)]
    assert clock.slept[-1] == pytest.approx(0.2)


def test_work_may_take_as_long_as_it_gets_on() -> None:
    clock, values = FakeClock(), iter([9.0, 8.0, None, 7.0, 8.0, 6.0, 0.0])
    outcome = waiter.wait_for(lambda: next(values), lambda v: v == 0, timeout=2, interval=1, clock=clock, left=lambda v: v)
    assert (outcome.value, outcome.done, outcome.elapsed) == (0.0, True, 6.0)


def test_work_that_stands_still_is_given_up() -> None:
    clock, values = FakeClock(), iter([9.0, 8.0, 8.0, 9.0, 0.0])
    outcome = waiter.wait_for(lambda: next(values), lambda v: v == 0, timeout=2, interval=1, clock=clock, left=lambda v: v)
    assert (outcome.value, outcome.done, outcome.elapsed) == (9.0, False, 3.0)


def test_hopeless_is_raised_at_once() -> None:
    def poll() -> int:
        raise RuntimeError("hopeless")

    with pytest.raises(RuntimeError, match="hopeless"):
        waiter.wait_for(poll, lambda _: False, timeout=10, clock=FakeClock())


@pytest.mark.parametrize(("timeout", "interval"), [(-1, 1), (1, 0)])
def test_wrong_bounds_are_named(timeout: float, interval: float) -> None:
    with pytest.raises(ValueError, match=f"timeout={timeout} .* interval={interval}"):
        waiter.wait_for(lambda: 1, lambda _: True, timeout=timeout, interval=interval)
