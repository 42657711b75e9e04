"""Questions, letters and the shallow score."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.microworld.tasks import (
    QUESTION_KINDS,
    QuestionKind,
    looks_nice,
    sample_question,
)
from omnigen2.microworld.tasks.specification import stands
from omnigen2.microworld.world import (
    NUMBERS,
    RELATIONS,
    GlyphTask,
    ImageSize,
    Scene,
    Vocabulary,
    draw,
    draw_glyphs,
    full_vocabulary,
    glyph_score,
    read_glyphs,
    sample_glyphs,
    sample_scene,
)
from omnigen2.microworld.world.glyph import edit_distance
from omnigen2.microworld.world.words import LETTERS, plural
from tests.microworld.worlds import generator, seeds, sizes, worlds

texts = st.text(alphabet=LETTERS, min_size=1, max_size=4)


@given(worlds, seeds, st.sampled_from(QUESTION_KINDS))
def test_answers_are_true(world: tuple[ImageSize, Vocabulary], seed: int, kind: QuestionKind) -> None:
    question = sample_question(world[1], generator(seed), kind)
    items, words = question.scene.items, question.text.split()
    match kind:
        case "count":
            assert NUMBERS.index(question.answer) == sum(plural(item.shape) in words for item in items)
        case "colour":
            asked = [i for i in items if i.shape in words and ("in" not in words or i.place in question.text)]
            assert [item.colour for item in asked] == [question.answer]
        case "shape":
            asked = [i for i in items if i.colour in words and ("in" not in words or i.place in question.text)]
            assert [item.shape for item in asked] == [question.answer]
        case "presence":
            there = any(item.shape in words and item.colour in words for item in items)
            assert question.answer == ("yes" if there else "no")
        case "place":
            (asked,) = (item for item in items if item.shape in words and item.colour in words)
            assert question.answer == f"in the {asked.place}"
        case "relation":
            (relation,) = (r for r in RELATIONS if f" {r} " in question.text)
            left, right = question.text.split(relation)
            first, second = (
                next(i for i in items if i.shape in part.split() and i.colour in part.split()) for part in (left, right)
            )
            assert question.answer == ("yes" if stands(first, relation, second) else "no")
        case "background":
            assert question.answer.split()[1] == question.scene.background.tint


def test_yes_and_no_are_equally_likely() -> None:
    """Of 400, a share outside of 0.4 to 0.6 has a probability below 1e-4."""
    rng = generator(3)
    for kind in ("presence", "relation"):
        answers = [sample_question(full_vocabulary(32), rng, kind).answer for _ in range(400)]
        assert 160 < answers.count("yes") < 240
        assert set(answers) == {"yes", "no"}


@given(sizes, seeds)
def test_letters_are_read_back_exactly(size: ImageSize, seed: int) -> None:
    task = sample_glyphs(generator(seed))
    picture = draw_glyphs(task, size)
    assert read_glyphs(picture) == task.text
    assert glyph_score(task.text, picture) == 1


@pytest.mark.parametrize("letter", LETTERS)
def test_every_letter_is_read_at_every_place_and_through_noise(letter: str) -> None:
    noise = torch.randn(3, 32, 32, generator=torch.manual_seed(0))
    for top in range(12):
        for left in range(14):
            picture = draw_glyphs(GlyphTask("", letter, "green", top, left), 32)
            assert read_glyphs(picture) == letter
            if left == top:
                assert read_glyphs(picture + 0.2 * noise) == letter


@given(texts, texts, sizes)
def test_other_texts_score_less(wanted: str, drawn: str, size: ImageSize) -> None:
    score = glyph_score(wanted, draw_glyphs(GlyphTask("", drawn, "white", 5, 0), size))
    assert score == 1 - edit_distance(wanted, drawn) / max(len(wanted), len(drawn))
    assert (score == 1) == (wanted == drawn)


@given(texts, texts, texts)
def test_the_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a) <= max(len(a), len(b))
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


@pytest.mark.parametrize("size", [1, 2, 7, 16, 33, 64])
def test_pictures_without_letters_score_nothing(size: int) -> None:
    noise = torch.randn(3, size, size, generator=torch.manual_seed(size)) * 5
    for picture in (torch.zeros(3, size, size), torch.full((3, size, size), float("nan")), -torch.ones(3, size, size)):
        assert read_glyphs(picture) == ""
        assert glyph_score("ABC", picture) == 0
    assert glyph_score("ABC", noise) < 0.5


def test_wrong_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 4 letters of A to Z, got 'HELLO'"):
        GlyphTask("", "HELLO", "red", 0, 0)
    with pytest.raises(ValueError, match="row may be 0 to 11, the column 0 to 9"):
        GlyphTask("", "NO", "red", 0, 10)
    with pytest.raises(ValueError, match="size of 20; use a multiple of 16"):
        draw_glyphs(GlyphTask("", "NO", "red", 0, 0), 20)


@given(worlds, seeds)
def test_the_shallow_score_can_be_hacked(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    """Bright checks, which show nothing, beat every scene; plain grey is the worst."""
    size, vocabulary = world
    picture = draw(sample_scene(vocabulary, generator(seed)), size)
    place = torch.arange(size) % 2
    checks = (1 - 2.0 * ((place[:, None] + place[None, :]) % 2)).expand(3, size, size)
    assert looks_nice(draw(Scene(()), size)) == 0 < looks_nice(picture) < looks_nice(checks) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, 3.0])
@pytest.mark.parametrize("size", [1, 2, 16])
def test_the_shallow_score_is_in_range_for_broken_pictures(value: float, size: int) -> None:
    assert 0 <= looks_nice(torch.full((3, size, size), value)) <= 1
