"""What comes of reflections: training examples, a report, and a page to look at."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from omnigen2.curation.reflection.attempts import Attempts
from omnigen2.curation.reflection.folder import Reflections, RoundPlan
from omnigen2.curation.reflection.gallery import gallery
from omnigen2.curation.reflection.judge import Verdict
from omnigen2.curation.reflection.report import report
from omnigen2.files import write_text


def write_results(store: Reflections) -> None:
    """Write examples, report and gallery of everything that is there."""
    every, plans = store.all(), store.plans()
    lines = [json.dumps(line, ensure_ascii=False) for one in every for line in examples(one, plans)]
    write_text(store.folder / "examples.jsonl", "".join(f"{line}\n" for line in lines))
    (store.folder / "gallery").mkdir(exist_ok=True)
    write_text(store.folder / "gallery" / "index.html", gallery(every, plans))
    write_text(store.folder / "report.md", report(every, plans, len(lines)))


def examples(attempts: Attempts, plans: Sequence[RoundPlan]) -> Iterator[dict[str, Any]]:
    """Lines in the official layout: for each picture of the path what is said of it, and the picture that follows.

    A picture that is right has none that follows. Of a last picture that is not, nothing is told: there is no better.
    """
    path = attempts.path
    folder = f"prompts/{attempts.prompt.key}"
    pictures = [f"{folder}/{one.picture}" for one in path]
    for number, attempt in enumerate(path):
        last = number == len(path) - 1
        if last and not attempt.verdict.right:
            return
        yield {
            "task_type": "reflection",
            "instruction": attempts.prompt.text,
            "input_images": pictures[: number + 1],
            "output_image": None if last else pictures[number + 1],
            "answer": attempt.verdict.answer,
            "meta_data": {
                "prompt": attempts.prompt.key,
                "task": attempts.prompt.meta,
                "edit": attempt.verdict.edit,
                "said_before": [one.verdict.answer for one in path[:number]],
                "rounds": [
                    _round(attempts, one, plans) for one in range(path[number if last else number + 1].round + 1)
                ],
            },
        }


def _round(attempts: Attempts, number: int, plans: Sequence[RoundPlan]) -> dict[str, Any]:
    """How a round was made, and what it gave."""
    plan = plans[number]
    scores = {
        str(one.seed): one.said.score if isinstance(one.said, Verdict) else None for one in attempts.rounds[number]
    }
    return {"how": plan.how, "model": plan.model, "content": plan.content, "judge": plan.judge, "scores": scores}
