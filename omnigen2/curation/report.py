"""`report.md`: how much came in, what was kept, what was dropped where and why, and what each step cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen2.curation.recipe import Recipe
from omnigen2.curation.records import Finished
from omnigen2.curation.step import Count
from omnigen2.curation.together import Seen
from omnigen2.files import markdown_table

if TYPE_CHECKING:
    from omnigen2.curation.curate import Progress

SHOWN = 20
"""Files of a kind of trouble that are named."""


def report(
    recipe: Recipe,
    finished: Sequence[Finished],
    counts: Sequence[Count],
    seen: Sequence[Seen],
    clips: Path,
    progress: "Progress",
) -> str:
    """The whole page.

    Args:
        finished: Without the examples that are left out for what was `seen`.
        counts: Of each step, in their order.
        clips: The folder of the clips.
    """
    kept = sum(len(one.kept) for one in finished)
    parts = [
        f"# Curation: {kept} examples of {len(finished)} clips",
        f"Task `{recipe.task}`, recipe `{recipe.identity}`; how it looks: [gallery](gallery/index.html).",
        "## What became of the items of each step",
        f"{funnel_table(counts)}\n\nA step takes what the one before gave: *in* = *went on* + *dropped*. "
        "Scenes and pairs are made where *gave* is more than *went on*.",
        "## What each step cost",
        f"{cost_table(recipe, counts, len(finished), kept)}\n\nSeconds are those of all workers together, waiting "
        "included; CPU seconds are those of all threads. GPU seconds are seconds times the GPUs that are reserved.",
        "## Why items were dropped",
        reasons_table(counts, finished),
        *map(seen_together, seen),
        *troubles(finished, progress),
        *(section.text(finished, clips) for section in recipe.sections if finished),
    ]
    return "\n\n".join(parts) + "\n"


def funnel_table(counts: Sequence[Count]) -> str:
    """One line for each step."""
    lines = [
        list(map(str, (count.step, count.taken, count.went_on, count.given, sum(count.dropped.values()))))
        for count in counts
    ]
    return markdown_table(("step", "in", "went on", "gave", "dropped"), lines, right=True)


def cost_table(recipe: Recipe, counts: Sequence[Count], clips: int, kept: int) -> str:
    """One line for each step, and one for all of them."""
    whole = sum(count.seconds for count in counts)
    lines: list[list[str]] = []
    total_gpu, total_spent = 0.0, Counter[str]()
    for count in counts:
        if count.step not in recipe.steps:
            continue
        gpu = count.seconds * recipe.steps[count.step].resources.gpus
        total_gpu, total_spent = total_gpu + gpu, total_spent + Counter(count.spent)
        lines.append(_cost(count.step, count.seconds, whole, count.cpu, gpu, count.spent, clips, kept))
    cpu = sum(count.cpu for count in counts)
    lines.append(_cost("all", whole, whole, cpu, total_gpu, total_spent, clips, kept))
    titles = ("step", "seconds", "share", "CPU s", "CPU s of 1,000 clips", "CPU s of an example", "GPU s", "spent")
    return markdown_table(titles, lines, right=True)


def _cost(
    name: str, seconds: float, whole: float, cpu: float, gpu: float, spent: Mapping[str, int], clips: int, kept: int
) -> list[str]:
    return [
        name,
        f"{seconds:.2f}",
        f"{seconds / whole:.0%}" if whole else "",
        f"{cpu:.2f}",
        f"{1000 * cpu / clips:.1f}" if clips else "",
        f"{cpu / kept:.3f}" if kept else "",
        f"{gpu:.1f}" if gpu else "",
        ", ".join(f"{number:,} {what}" for what, number in spent.items()),
    ]


def seen_together(seen: Seen) -> str:
    """What was found by looking at all examples."""
    fate = "which are left out" if seen.drop else "which are still there"
    title = f"## {seen.name}: {len(seen.found)} of {seen.of} examples" + (f", {fate}" if seen.found else "")
    lines = [
        [f"{clip.clip.name}, {item.key}", f"{dropped.reason}: {dropped.detail}"]
        for (clip, item), dropped in seen.found[:SHOWN]
    ]
    more = [f"and {len(seen.found) - SHOWN} more"] if len(seen.found) > SHOWN else []
    return "\n\n".join([title, *([markdown_table(("example", "what it is"), lines)] if lines else []), *more])


def reasons_table(counts: Sequence[Count], finished: Sequence[Finished]) -> str:
    """One line for each reason, in the order of the steps."""
    lines: list[list[str]] = []
    for count in counts:
        for reason, number in sorted(count.dropped.items(), key=lambda pair: -pair[1]):
            details = Counter(
                end.detail for one in finished for end in one.ended if (end.step, end.reason) == (count.step, reason)
            )
            common = "; ".join(f"{detail} ({times})" for detail, times in details.most_common(3) if detail)
            lines.append([f"{count.step}: {reason}", str(number), common[:300]])
    return markdown_table(("reason", "items", "most often"), lines) if lines else "Nothing was dropped."


def troubles(finished: Sequence[Finished], progress: "Progress") -> list[str]:
    """What failed, and what the last command could not do, file by file."""
    errors = [(one.clip.name, f"{end.step}: {end.detail}") for one in finished for end in one.errors[:1]]
    parts: list[str] = []
    for title, found in (
        ("Files that could not be read", progress.unreadable),
        ("Clips that wait for another try with the same command", progress.unanswered),
        ("Clips in which a step failed (`--retry_errors` does them again)", errors),
        ("Files with the content of another", progress.copies),
    ):
        if found:
            shown = [f"- `{name}`: {cause}" for name, cause in found[:SHOWN]]
            more = [f"- and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
            parts.append(f"## {title}: {len(found)}\n\n" + "\n".join([*shown, *more]))
    return parts
