"""Tasks become training examples: drawn, as PNG files in memory, with the task itself as their `meta` text."""

import io
from typing import assert_never

from PIL import Image

from omnigen2.data.samples import Sample
from omnigen2.microworld.tasks.caption import Caption
from omnigen2.microworld.tasks.context import ContextTask
from omnigen2.microworld.tasks.edit import EditTask
from omnigen2.microworld.tasks.question import Question
from omnigen2.microworld.tasks.record import Task, to_json
from omnigen2.microworld.world import GlyphTask, Pixels, draw, draw_glyphs


def to_sample(task: Task, size: int, key: str = "<sample>") -> Sample:
    """Draw a task.

    Args:
        task: Any of the micro-world's tasks.
        size: Side of all pictures in pixels.
        key: Names the sample in messages.

    Returns:
        Captions and letters are text_to_image, edits edit, in-context tasks in_context, questions understanding.
        `from_json(sample.meta)` is the task.
    """
    meta = to_json(task)
    match task:
        case Caption():
            return Sample("text_to_image", task.text, target=png(draw(task.scene, size)), key=key, meta=meta)
        case GlyphTask():
            return Sample("text_to_image", task.instruction, target=png(draw_glyphs(task, size)), key=key, meta=meta)
        case EditTask():
            source, target = png(draw(task.source, size)), png(draw(task.target, size))
            return Sample("edit", task.instruction, (source,), target, key=key, meta=meta)
        case ContextTask():
            references = tuple(png(draw(scene, size)) for scene in task.references)
            return Sample("in_context", task.instruction, references, png(draw(task.target, size)), key=key, meta=meta)
        case Question():
            picture = png(draw(task.scene, size))
            return Sample("understanding", task.text, (picture,), answer=task.answer, key=key, meta=meta)
        case _:
            assert_never(task)


def png(pixels: Pixels) -> bytes:
    """Encode a picture as a PNG file.

    Args:
        pixels: In [-1, 1], shape (3, size, size).

    Returns:
        The file's contents: 8 bits per channel, nearest value.
    """
    levels = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="PNG")
    return file.getvalue()
