"""What annotations say is looked at when a part is built."""

from typing import Literal

import pytest

from omnigen2.flow.checks import check_choice, check_instance

Choice = Literal["euler", "heun", 1]


@pytest.mark.parametrize("value", ["euler", "heun", 1])
def test_a_choice_is_one_of_those_that_there_are(value: object) -> None:
    check_choice("the solver", value, Choice)


@pytest.mark.parametrize("value", ["eule", "", None, 2, True, 1.0, ["euler"]])
def test_anything_else_is_refused_with_the_choices(value: object) -> None:
    with pytest.raises(ValueError, match=r"the solver is .*, expected one of 'euler', 'heun', 1"):
        check_choice("the solver", value, Choice)


def test_an_instance_is_of_the_class_or_derived_from_it() -> None:
    check_instance("the shift", True, int)
    with pytest.raises(ValueError, match=r"the shift is '3', expected a int"):
        check_instance("the shift", "3", int)
