"""Tasks become training examples: drawn, as PNG files in memory, with the task itself as their `meta` text."""

from typing import assert_never

from omnigen2.data.samples import Sample
from omnigen2.microworld.tasks.caption import Caption
from omnigen2.microworld.tasks.context import ContextTask
from omnigen2.microworld.tasks.edit import EditTask
from omnigen2.microworld.tasks.question import Question
from omnigen2.microworld.tasks.record import Task, to_json
from omnigen2.microworld.world import GlyphTask, draw, draw_glyphs
from omnigen2.pictures import to_png


def to_sample(task: Task, size: int, key: str = "<sample>") -> Sample:
    """Draw a task: captions and letters as text_to_image, questions as understanding; `from_json(sample.meta)` is it.

    Args:
        size: Side of all pictures in pixels.
    """
    meta = to_json(task)
    match task:
        case Caption() | EditTask() | ContextTask():
            references = tuple(to_png(draw(scene, size)) for scene in task.references)
            return Sample(
                task.family, task.instruction, references, to_png(draw(task.target, size)), key=key, meta=meta
            )
        case GlyphTask():
            target = to_png(draw_glyphs(task, size))
            return Sample("text_to_image", task.instruction, target=target, key=key, meta=meta)
        case Question():
            picture = to_png(draw(task.scene, size))
            return Sample("understanding", task.text, (picture,), answer=task.answer, key=key, meta=meta)
        case _:
            assert_never(task)
