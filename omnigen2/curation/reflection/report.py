"""`report.md`: what each round came to, and what judges did not say."""

from collections import Counter
from collections.abc import Sequence

from omnigen2.curation.reflection.attempts import Attempts
from omnigen2.curation.reflection.folder import RoundPlan
from omnigen2.curation.reflection.judge import Unjudged
from omnigen2.files import markdown_table

SHOWN = 20
"""Problems that are told, the most frequent ones."""


def report(every: Sequence[Attempts], plans: Sequence[RoundPlan], examples: int) -> str:
    """The whole page."""
    states = Counter(one.state for one in every)
    parts = [
        f"# Reflection: {examples} examples of {len(every)} prompts",
        f"{states['right']} right at once, {states['mended']} mended, {states['wrong']} still wrong, "
        f"{states['unjudged']} without a verdict, {states['waiting']} waiting. How it looks: "
        "[gallery](gallery/index.html).",
        "## What each round came to",
        _rounds(every, plans),
        "Round 0 is the first picture of each prompt. A round takes the prompts whose last picture is wrong; it is "
        "*better* if a picture of it is, by the judge's score, and *wrong* if none is: then the last one stays. "
        "*No verdict*: nothing that the judge said of its pictures can be read. *Waiting*: the same command goes on "
        "with them.",
        "## What was wrong with first pictures",
        _problems(every),
    ]
    if unjudged := _unjudged(every):
        parts += ["## Pictures without a verdict", unjudged]
    return "\n\n".join(parts) + "\n"


def _rounds(every: Sequence[Attempts], plans: Sequence[RoundPlan]) -> str:
    lines: list[list[str]] = []
    for number, plan in enumerate(plans):
        outcomes = [one.outcome(number) for one in every if number < len(one.rounds)]
        counts = Counter(outcomes)
        numbers = [counts[name] for name in ("right", "better", "wrong", "unjudged", "waiting")]
        lines.append([str(number), plan.how, str(plan.tries), plan.model, *map(str, (len(outcomes), *numbers))])
    head = ("round", "how", "tries", "model", "in", "right", "better", "wrong", "no verdict", "waiting")
    return markdown_table(head, lines, right=True) if lines else "Nothing was drawn yet."


def _problems(every: Sequence[Attempts]) -> str:
    told = Counter(problem for one in every for problem in (one.path[0].verdict.problems if one.path else ()))
    lines = [[problem.replace("|", "\\|"), str(count)] for problem, count in told.most_common(SHOWN)]
    return markdown_table(("problem", "pictures"), lines) if lines else "Nothing."


def _unjudged(every: Sequence[Attempts]) -> str:
    said = [trial.said for one in every for tries in one.rounds for trial in tries]
    found = [one for one in said if isinstance(one, Unjudged)]
    lines = [
        [reason, str(count), next(one.detail for one in found if one.reason == reason)[:200].replace("|", "\\|")]
        for reason, count in Counter(one.reason for one in found).most_common()
    ]
    return markdown_table(("reason", "pictures", "such as"), lines) if lines else ""
