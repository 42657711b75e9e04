"""A small world of drawn scenes with exact captions, edits, references and an exact verifier.

It is for checking machinery and trends offline, in minutes; it says nothing about real pictures. Here are the world and
its tasks, which need no Lightning; `omnigen2.microworld.runs` trains models in it, and `.reports` writes about them.

    rng = numpy.random.default_rng(0)
    vocabulary = full_vocabulary(64)
    task = sample_edit(vocabulary, rng, "recolour")
    picture = draw(task.target, 64)
    assert verify(task, picture).exact
"""

from omnigen2.microworld.tasks import (
    sample_caption,
    sample_context,
    sample_edit,
    sample_question,
    verify,
    verify_caption,
)
from omnigen2.microworld.trained import MICRO_MODEL, copy_micro_model
from omnigen2.microworld.world import EASY, draw, full_vocabulary, read, sample_scene

__all__ = [
    "EASY", "MICRO_MODEL", "copy_micro_model", "draw", "full_vocabulary", "read", "sample_caption", "sample_context",
    "sample_edit", "sample_question", "sample_scene", "verify", "verify_caption",
]  # fmt: skip
