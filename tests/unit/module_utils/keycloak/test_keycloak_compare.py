"""Comparing what is declared with what is live."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import compare

# Few values, so that equal ones meet often.
VALUES = st.sampled_from([None, True, False, 0, 1, "", "x", "y"]) | st.lists(st.sampled_from("ab"), max_size=2)
FLAT = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
OBJECTS = st.builds(lambda flat, nested: {**flat, "n": nested}, FLAT, FLAT)


def test_only_declared_fields_are_compared() -> None:
    found = compare.changes("realm r", {"a": 1, "b": 2, "n": {"x": 1, "y": 2}}, {"a": 3, "n": {"y": 5}})
    assert [change.line() for change in found] == ["realm r: a: 1 -> 3", "realm r: n.y: 2 -> 5"]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (["b", "a"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (None, [], True),
        (None, "", True),
        ("", None, True),
        (None, False, False),
        ("x", "", False),
        ("1", 1, False),
    ],
)
def test_lists_are_sets_and_unset_is_empty(old: Any, new: Any, same: bool) -> None:
    assert compare.same(old, new) is same


@pytest.mark.parametrize(("old", "new", "line"), [(None, "x", "client x: created"), ("x", None, "client x: removed")])
def test_whole_objects_are_told_in_a_word(old: Any, new: Any, line: str) -> None:
    assert compare.Change("client x", "", old, new).line() == line


def test_membership_names_both_sets() -> None:
    assert compare.membership("u", "roles", ["b"], ["a", "a"])[0].line() == "u: roles: ['b'] -> ['a']"
    assert compare.membership("u", "roles", ["a", "b"], ["b", "a"]) == []


@given(old=OBJECTS, new=OBJECTS)
def test_after_merging_nothing_differs_and_nothing_else_is_lost(old: dict[str, Any], new: dict[str, Any]) -> None:
    result = compare.merged(old, new)
    assert compare.changes("x", result, new) == []
    assert all(result[key] == value for key, value in old.items() if key not in new)
    assert all(result["n"][key] == value for key, value in old["n"].items() if key not in new["n"])
