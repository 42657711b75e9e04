"""`report.md`: how much came in, what was kept, what was dropped where and why, and what each step cost."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen2.curation.recipe import Recipe
from omnigen2.curation.records import Finished, funnel
from omnigen2.files import markdown_table

if TYPE_CHECKING:
    from omnigen2.curation.curate import Progress

SHOWN = 20
"""Files of a kind of trouble that are named."""


def report(recipe: Recipe, finished: Sequence[Finished], clips: Path, progress: "Progress") -> str:
    """The whole page."""
    kept = sum(len(one.kept) for one in finished)
    parts = [
        f"# Curation: {kept} examples of {len(finished)} clips",
        f"Task `{recipe.task}`, recipe `{recipe.identity}`; how it looks: [gallery](gallery/index.html).",
        "## What became of the items of each step",
        f"{funnel_table(recipe, finished)}\n\nA step takes what the one before gave: *in* = *went on* + *dropped*. "
        "Scenes and pairs are made where *gave* is more than *went on*. Seconds are those of all workers together.",
        "## Why items were dropped",
        reasons_table(recipe, finished),
        *troubles(finished, progress),
        *(section.text(finished, clips) for section in recipe.sections if finished),
    ]
    return "\n\n".join(parts) + "\n"


def funnel_table(recipe: Recipe, finished: Sequence[Finished]) -> str:
    """One line for each step."""
    lines = [
        [
            count.step,
            str(count.taken),
            str(count.went_on),
            str(count.given),
            str(sum(count.dropped.values())),
            f"{count.seconds:.2f}",
        ]
        for count in funnel(finished, list(recipe.steps))
    ]
    return markdown_table(("step", "in", "went on", "gave", "dropped", "seconds"), lines, right=True)


def reasons_table(recipe: Recipe, finished: Sequence[Finished]) -> str:
    """One line for each reason, in the order of the steps."""
    lines: list[list[str]] = []
    for count in funnel(finished, list(recipe.steps)):
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
