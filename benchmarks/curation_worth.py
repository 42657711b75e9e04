"""What each filter of a curation is worth, and how models that are wrong hurt it, on drawn videos whose truth is known.

    OMP_NUM_THREADS=1 python benchmarks/curation_worth.py edit --videos 60
    OMP_NUM_THREADS=1 python benchmarks/curation_worth.py in_context --videos 60

Markdown tables. `edit` takes recipes/curation/micro_edit.yaml, `in_context` micro_incontext.yaml. The first table
leaves out each filter, and all others, once with models that are always right and once with models that err: a writer
of edits that gives an instruction to every tenth pair that has none; for in-context examples, boxes, tracks, masks and
paintings of which one in ten or twenty is wrong. In the second table one model after another errs, with all filters.
Right are examples that are right in every way, of those that are kept; found are right ones, of all that there could
have been. Seeds start at `--seed`; thresholds were chosen on others (10000 and 50000 on). Scenes and frames are found
once; everything after them is done again for each line, in this process.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnigen2.curation import Clip, Finished, Item, OpenClip, Recipe, Step, read_recipe, through
from omnigen2.files import markdown_table
from omnigen2.microworld.curated import judge_contexts, judge_edits
from omnigen2.microworld.video import write_videos

RECIPES = Path(__file__).parents[1] / "recipes" / "curation"
RATES = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Pipeline:
    """A recipe and what is tried with it.

    Attributes:
        once: The last step that is done once for all lines.
        filters: Steps that can be left out.
        erring: Settings of models that err.
        models: What is wrong, and the setting that says how often.
    """

    recipe: str
    once: str
    filters: tuple[str, ...]
    erring: tuple[str, ...]
    models: Mapping[str, str]


PIPELINES = {
    "edit": Pipeline(
        "micro_edit.yaml",
        "pairs",
        ("same_view", "difference"),
        ("words.eager=0.1",),
        {"instructions of other edits": "words.wrong", "instructions where there is no edit": "words.eager"},
    ),
    "in_context": Pipeline(
        "micro_incontext.yaml",
        "key_frames",
        ("same_thing", "subject_kept", "judge"),
        (
            "boxes.detector.init_args.wrong=0.1",
            "tracks.tracker.init_args.wrong=0.1",
            "tracks.tracker.init_args.cut=0.05",
            "background.filler.init_args.wrong=0.1",
        ),  # fmt: skip
        {
            "names of other things": "names.wrong",
            "boxes of other things": "boxes.detector.init_args.wrong",
            "tracks that go over to other things": "tracks.tracker.init_args.wrong",
            "masks that leave out a half": "tracks.tracker.init_args.cut",
            "things that grow when they are painted around": "background.filler.init_args.wrong",
            "verdicts on tracks turned round": "same_thing.wrong",
            "grades turned round": "judge.wrong",
            "instructions of other tasks": "words.wrong",
        },
    ),
}


@dataclass(frozen=True)
class Begun:
    """A clip whose frames have been taken."""

    clip: Clip
    opened: OpenClip
    items: Sequence[Item]


@dataclass(frozen=True)
class Tally:
    """What a pipeline has made: kept, right among them, with right subjects, and what there could have been."""

    kept: int
    right: int
    subjects: int
    possible: int

    def line(self) -> list[str]:
        """For a table."""
        shares = [(self.subjects, self.kept), (self.right, self.kept), (self.right, self.possible)]
        return [str(self.kept), *(f"{part / whole:.3f}" if whole else "–" for part, whole in shares)]


def begun(recipe: Recipe, once: str, videos: Path, folder: Path) -> Iterator[Begun]:
    """The clips after the steps that are the same for all lines."""
    for path in sorted(videos.glob("*.mp4")):
        opened = OpenClip(path, folder / path.stem)
        opened.folder.mkdir(parents=True)
        items: Sequence[Item] = (Item(),)
        for name, step in recipe.steps.items():
            items, _, _ = through(name, step, items, opened)
            if name == once:
                break
        yield Begun(Clip(path.name, path.stem), opened, items)


def finished(one: Begun, steps: Mapping[str, Step]) -> Finished:
    """A clip after the other steps."""
    items, ended = one.items, []
    for name, step in steps.items():
        items, dropped, _ = through(name, step, items, one.opened)
        ended += dropped
    return Finished(one.clip, one.opened.folder, tuple(items), tuple(ended), (), {})


def tally(kind: str, done: Sequence[Finished], videos: Path) -> Tally:
    """Against the truth."""
    if kind == "edit":
        pairs = [pair for one in done for pair in judge_edits(one, videos)]
        kept = [pair for pair in pairs if not pair.reason]
        right = sum(bool(pair.right) for pair in kept)
        return Tally(len(kept), right, right, sum(pair.possible for pair in pairs))
    examples = [example for one in done for example in judge_contexts(one, videos)]
    left = [example for example in examples if not example.step]
    subjects = sum(bool(example.subjects) for example in left)
    possible = sum(example.possible for example in examples)
    return Tally(len(left), sum(example.right for example in left), subjects, possible)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(PIPELINES))
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pipeline = PIPELINES[options.kind]
    path = RECIPES / pipeline.recipe
    with tempfile.TemporaryDirectory() as name:
        videos = Path(name, "videos")
        write_videos(videos, options.videos, options.seed)
        clips = list(begun(read_recipe(path), pipeline.once, videos, Path(name, "frames")))

        def tried(changes: Sequence[str], without: Sequence[str] = ()) -> list[str]:
            steps = read_recipe(path, changes).steps
            first = list(steps).index(pipeline.once) + 1
            rest = {step: steps[step] for step in list(steps)[first:] if step not in without}
            return tally(options.kind, [finished(clip, rest) for clip in clips], videos).line()

        every = pipeline.filters
        sets: dict[str, tuple[str, ...]] = {"all": (), **{f"all but {one}": (one,) for one in every}}
        if len(every) > 2:
            sets |= {f"{one} alone": tuple(other for other in every if other != one) for one in every}
        sets["none"] = every
        lines = [
            [filters, models, *tried(changes, out)]
            for models, changes in (("are right", ()), ("err", pipeline.erring))
            for filters, out in sets.items()
        ]
        heads = ("kept", "subjects right", "right", "found")
        print(f"{options.kind}, {options.videos} videos from seed {options.seed}\n")
        print(markdown_table(("filters", "models", *heads), lines), end="\n\n")
        lines = [
            [what, str(rate), *tried([f"{setting}={rate}"])]
            for what, setting in pipeline.models.items()
            for rate in RATES
        ]
        print(markdown_table(("wrong", "share", *heads), lines))


if __name__ == "__main__":
    main()
