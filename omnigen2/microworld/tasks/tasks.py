"""The three families of drawing tasks: which kinds there are, and a task of each."""

from typing import Any, TypeAlias, assert_never

import numpy as np

from omnigen2.microworld.tasks.caption import Caption, sample_caption
from omnigen2.microworld.tasks.context import ContextTask, context_kinds, sample_context
from omnigen2.microworld.tasks.edit import EditTask, edit_kinds, sample_edit
from omnigen2.microworld.tasks.specification import TAGS, Family
from omnigen2.microworld.world import Vocabulary

DrawingTask: TypeAlias = Caption | EditTask | ContextTask


def kinds_of(family: Family, vocabulary: Vocabulary) -> tuple[Any, ...]:
    """The kinds of a family that a vocabulary allows."""
    match family:
        case "text_to_image":
            return TAGS
        case "edit":
            return edit_kinds(vocabulary)
        case "in_context":
            return context_kinds(vocabulary)
        case _:
            assert_never(family)


def sample_task(family: Family, kind: Any, vocabulary: Vocabulary, rng: np.random.Generator) -> DrawingTask:
    """A random task of a kind, one of `kinds_of`."""
    match family:
        case "text_to_image":
            return sample_caption(vocabulary, rng, kind)
        case "edit":
            return sample_edit(vocabulary, rng, kind)
        case "in_context":
            return sample_context(vocabulary, rng, kind)
        case _:
            assert_never(family)
