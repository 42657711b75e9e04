"""Values out of foreign JSON have the type that was asked for, or an error names the place."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.files import Fields


class OurError(UserError):
    """A room's own."""


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TAKEN: dict[str, tuple[Callable[[Fields], Any], Callable[[Any], bool]]] = {
    "text": (lambda fields: fields.text("x"), lambda value: type(value) is str),
    "flag": (lambda fields: fields.flag("x"), lambda value: type(value) is bool),
    "whole": (lambda fields: fields.whole("x", 0, 9), lambda value: type(value) is int and 0 <= value <= 9),
    "number": (
        lambda fields: fields.number("x", -1),
        lambda value: type(value) in (int, float) and -1 <= value < 10**300,
    ),
    "object": (lambda fields: dict(fields.object("x").values), lambda value: isinstance(value, dict)),
    "texts": (
        lambda fields: list(fields.texts("x")),
        lambda value: isinstance(value, list) and all(type(one) is str for one in value),
    ),
    "wholes": (
        lambda fields: list(fields.wholes("x", 0)),
        lambda value: isinstance(value, list) and all(type(one) is int and 0 <= one < 2**63 for one in value),
    ),
    "objects": (
        lambda fields: [dict(one.values) for one in fields.objects("x")],
        lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
@given(value=ANY)
def test_a_value_is_of_the_type_or_is_refused_with_its_place(kind: str, value: Any) -> None:
    take, right = TAKEN[kind]
    fields = Fields({"x": value}, "config.json", OurError, "mend it")
    if right(value):
        assert take(fields) == value
        return
    with pytest.raises(OurError, match=r"^config\.json.* has x .*, expected .*\n  mend it$") as refusal:
        take(fields)
    assert len(refusal.value.message) < 250


def test_missing_and_unknown_names_are_told() -> None:
    fields = Fields({"r": 8, "inner": {"a": None}}, "config.json")
    with pytest.raises(UserError, match=r'^config.json has "inner", known are r$'):
        fields.only("r")
    with pytest.raises(UserError, match=r"^config.json, inner, has no b, expected a number of at least 1$"):
        fields.object("inner").number("b", low=1)
    with pytest.raises(UserError, match=r'^config.json has r 8, expected one of "a", "b"$|expected one of a, b$'):
        fields.choice("r", "a", "b")
    assert (fields.has("r"), fields.has("s"), fields.object("inner").has("a")) == (True, False, False)
