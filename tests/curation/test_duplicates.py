"""Copies are found as by comparing each with each, and left out whatever clips are called and whichever was first."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from omnigen2.curation import (
    Clip,
    CurationError,
    Example,
    Finished,
    Frame,
    InProcess,
    Item,
    OpenClip,
    Outcome,
    Step,
    Store,
    curate,
    read_recipe,
    retune,
    through,
)
from omnigen2.curation.pairs import HashIndex
from omnigen2.curation.steps import Duplicates, HashPictures, Leaks
from omnigen2.curation.together import sift
from omnigen2.errors import UserError
from tests.curation.parts import content, write_clips
from tests.curation.test_curate import said

HASHES = st.integers(0, 2**64 - 1)
FLIPS = st.lists(st.integers(0, 63), max_size=12)


def flipped(hashed: int, flips: Sequence[int]) -> int:
    for place in flips:
        hashed ^= 1 << place
    return hashed


@given(HASHES, st.lists(FLIPS, min_size=1, max_size=30), FLIPS, st.integers(0, 11))
def test_searched_is_as_compared_with_each(center: int, known: list[list[int]], asked: list[int], bits: int) -> None:
    index, hashes = HashIndex(bits), [flipped(center, flips) for flips in known]
    for hashed in hashes:
        index.add(hashed)
    query = flipped(center, asked)
    apart = [(hashed ^ query).bit_count() for hashed in hashes]
    assert index.near(query) == [(place, bits_apart) for place, bits_apart in enumerate(apart) if bits_apart <= bits]


def finished(name: str, content: str, *hashes: int | None) -> Finished:
    """A clip with an example for each hash of a target; its input is like nothing."""
    items = tuple(
        Item(str(place), frames=(Frame(0.0, "a"), Frame(1.0, "b")), made={"hashes": [None, written(hashed)]})
        for place, hashed in enumerate(hashes)
    )
    return Finished(Clip(name, content), Path(content), items, (), (), {})


def written(hashed: int | None) -> list[str] | None:
    return None if hashed is None else [f"{hashed:016x}", f"{2**64 - 1 - hashed:016x}"]


CENTERS = (0, 0xFFFF0000FFFF0000, 0x0F0F0F0F0F0F0F0F)
TARGETS = st.one_of(st.none(), st.builds(flipped, st.sampled_from(CENTERS), st.lists(st.integers(0, 63), max_size=3)))


@given(st.lists(st.lists(TARGETS, max_size=3), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_stays_is_of_its_own_and_does_not_depend_on_names_or_order(
    targets: list[list[int | None]], chance: random.Random
) -> None:
    clips = [finished(str(place), f"{place:02d}", *hashes) for place, hashes in enumerate(targets)]
    together = {"copies": Duplicates(bits=6)}
    kept, (seen,) = sift(together, clips)
    left = {one.clip.content: [item.key for item in one.kept] for one in kept}
    for one, before in zip(kept, clips, strict=True):
        assert len(one.kept) + len(one.ended) == len(before.kept)
        assert (one.counts[-1].taken, one.counts[-1].given) == (len(before.kept), len(one.kept))
    assert seen.of == sum(map(len, targets))
    assert len(seen.found) == seen.of - sum(map(len, left.values()))
    named = [(one.clip.content, item.made["hashes"][1]) for one in kept for item in one.kept]
    whole = [(its, int(hashed[0], 16)) for its, hashed in named if hashed is not None]
    for place, (mine, hashed) in enumerate(whole):
        assert all((hashed ^ other).bit_count() > 6 for its, other in whole[:place] if its != mine)
    again = [Finished(Clip(f"x{n}", one.clip.content), one.folder, one.kept, (), (), {}) for n, one in enumerate(clips)]
    chance.shuffle(again)
    assert {one.clip.content: [item.key for item in one.kept] for one in sift(together, again)[0]} == left


class Noise(Step):
    """Gives each line pictures of its own: what a line says draws its target."""

    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for item in items:
            seconds = item.frames[1].seconds
            picture = noise(str(item.made["line"]).split()[-1])
            picture.save(clip.folder / f"{seconds}.png")
            outcomes.append((replace(item, frames=(Frame(seconds, f"{seconds}.png"),) * 2),))
        return outcomes


def noise(word: str) -> Image.Image:
    """A picture for a word; of `-word`, the mirror image of that of `word`."""
    seed = sum(map(ord, word.lstrip("-")))
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(cells).resize((64, 64), Image.Resampling.BICUBIC)
    return ImageOps.mirror(picture) if word.startswith("-") else picture


def with_copies(folder: Path, **together: dict[str, Any]) -> Path:
    """The recipe of the tests, with pictures that are told from each other."""
    made = content()
    steps = f"{__name__}.Noise", f"{HashPictures.__module__}.HashPictures"
    made["steps"] |= {"noise": {"class_path": steps[0]}, "hashes": {"class_path": steps[1]}}
    say = made["steps"].pop("say")
    made["steps"]["say"] = say
    made["together"] = {
        name: {"class_path": f"omnigen2.curation.steps.{name.title()}", "init_args": values}
        for name, values in together.items()
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path


TEXTS = ("0.5 a cat\n0.5 a dog", "0.4 one -cat\n0.6 a pig", "0.7 my dog\n0.3 an ox")


def test_copies_and_leaks_are_left_out_or_told_of(tmp_path: Path) -> None:
    clips, out = write_clips(tmp_path / "clips", *TEXTS), tmp_path / "out"
    tested = tmp_path / "benchmark"
    tested.mkdir()
    noise("pig").resize((32, 32)).save(tested / "pig.jpg")
    Image.new("RGB", (32, 32), "red").save(tested / "flat.png")
    leaks = {"against": [str(tested)]}
    curate(read_recipe(with_copies(tmp_path, duplicates={}, leaks={**leaks, "drop": False})), clips, out, InProcess())
    assert sorted(words.split()[-1].lstrip("-") for words in map(str, said(out))) == ["cat", "dog", "ox", "pig"]
    report = (out / "report.md").read_text()
    assert "| duplicates: nearly the target of another clip | 2 |" in report
    assert "leaks: 1 of 4 examples, which are still there" in report
    assert "benchmark/pig.jpg" in report
    curate(read_recipe(with_copies(tmp_path, duplicates={}, leaks=leaks)), clips, out, InProcess())
    assert sorted(words.split()[-1].lstrip("-") for words in map(str, said(out))) == ["cat", "dog", "ox"]
    gallery = (out / "gallery" / "index.html").read_text()
    assert "leaks: a picture that models are tested on: 1" in gallery

    tried = retune(out, {"grade.least": 0.45}, "strict.jsonl")
    lines = [json.loads(line)["instruction"] for line in (out / "strict.jsonl").open()]
    assert len(lines) == len(tried.kept)
    assert sorted(words.split()[-1].lstrip("-") for words in lines) == ["cat", "dog"]
    assert tried.after["leaks", "a picture that models are tested on"] == 1


def test_a_jsonl_is_a_set_too_and_broken_ones_are_told_before_the_work(tmp_path: Path) -> None:
    noise("cat").save(tmp_path / "cat.png")
    line = {"task_type": "t2i", "instruction": "a cat", "output_image": "cat.png"}
    (tmp_path / "set.jsonl").write_text(json.dumps(line) + "\n")
    clip = OpenClip(tmp_path, tmp_path)
    item = Item(frames=(Frame(0.0, "cat.png"),))
    (hashed,), _, _ = through("hashes", HashPictures(), [item], clip)
    example: Example = Finished(Clip("x", "x"), tmp_path, (hashed,), (), (), {}), hashed
    (said_of,) = Leaks([str(tmp_path / "set.jsonl")]).named([example]).values()
    assert said_of.detail == "0 of 64 bits from set.jsonl:1"
    with pytest.raises(CurationError, match="has no hashes of its pictures"):
        Duplicates().named([(example[0], item)])

    clips, out = write_clips(tmp_path / "clips", *TEXTS), tmp_path / "out"
    (tmp_path / "none").mkdir()
    (tmp_path / "bad.jsonl").write_text("{}\n")
    for against, problem in (("nowhere", "there is no"), ("none", "has no pictures"), ("bad.jsonl", "bad.jsonl")):
        path = with_copies(tmp_path, leaks={"against": [str(tmp_path / against)]})
        with pytest.raises(UserError, match=f"together.leaks: .*{problem}"):
            curate(read_recipe(path), clips, out, InProcess())
    assert not Store(out).finished()
    path = with_copies(tmp_path, duplicates={"bits": 20})
    with pytest.raises(CurationError, match="hashes of near copies cannot differ in 20 bits give 0 to 16"):
        read_recipe(path)
    path.write_text(with_copies(tmp_path, duplicates={}).read_text().replace("duplicates.HashPictures", "ids.NoIds"))
    with pytest.raises(UserError, match=r"together.duplicates: no step hashes the pictures"):
        curate(read_recipe(path), clips, tmp_path / "other", InProcess())
