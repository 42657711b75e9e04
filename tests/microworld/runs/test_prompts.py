"""Prompts of the micro-world: a function of their number alone."""

import json

from omnigen2.microworld.runs import MicroPrompts


def test_prompts_depend_on_their_number_alone() -> None:
    asked = {"text_to_image": 1.0, "edit": 1.0, "in_context": 1.0}
    first, second = (MicroPrompts(16, 20, asked, prompts=64, multiple=4) for _ in range(2))
    for number in (5, 0, 5):
        assert first.prompt(number).meta == second.prompt(number).meta
    assert len({first.prompt(number).meta for number in range(16)}) == 16
    letters = MicroPrompts(16, 1, {"letters": 1.0}, multiple=4).prompt(0)
    assert json.loads(letters.meta)["task"] == "glyphs"
