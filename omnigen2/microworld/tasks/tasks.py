"""The three families of drawing tasks, and what all of them have in common."""

from typing import Any, Literal, TypeAlias, assert_never, get_args

import numpy as np

from omnigen2.microworld.tasks.caption import Caption, sample_caption
from omnigen2.microworld.tasks.context import ContextTask, context_kinds, sample_context
from omnigen2.microworld.tasks.edit import EditTask, edit_kinds, sample_edit
from omnigen2.microworld.tasks.specification import TAGS
from omnigen2.microworld.world import Scene, Vocabulary

DrawingTask: TypeAlias = Caption | EditTask | ContextTask
Family: TypeAlias = Literal["text_to_image", "edit", "in_context"]
FAMILIES: tuple[Family, ...] = get_args(Family)


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
    """A random task of a kind.

    Args:
        family: Of tasks.
        kind: One of `kinds_of`.
        vocabulary: What scenes are made of.
        rng: The only source of randomness.

    Returns:
        The task.
    """
    match family:
        case "text_to_image":
            return sample_caption(vocabulary, rng, kind)
        case "edit":
            return sample_edit(vocabulary, rng, kind)
        case "in_context":
            return sample_context(vocabulary, rng, kind)
        case _:
            assert_never(family)


def family_of(task: DrawingTask) -> Family:
    """The family of a task."""
    match task:
        case Caption():
            return "text_to_image"
        case EditTask():
            return "edit"
        case ContextTask():
            return "in_context"
        case _:
            assert_never(task)


def instruction_of(task: DrawingTask) -> str:
    """The words of a task."""
    return task.text if isinstance(task, Caption) else task.instruction


def references_of(task: DrawingTask) -> tuple[Scene, ...]:
    """The scenes that are given with a task."""
    match task:
        case Caption():
            return ()
        case EditTask():
            return (task.source,)
        case ContextTask():
            return task.references
        case _:
            assert_never(task)


def target_of(task: DrawingTask) -> Scene:
    """The scene that a task asks for."""
    return task.scene if isinstance(task, Caption) else task.target
