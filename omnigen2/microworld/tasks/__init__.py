"""Tasks of the micro-world: captions, edits, in-context tasks and questions, how they are verified and rewarded."""

from omnigen2.microworld.tasks.caption import Caption, caption_text, sample_caption
from omnigen2.microworld.tasks.context import CONTEXT_KINDS, ContextKind, ContextTask, context_kinds, sample_context
from omnigen2.microworld.tasks.edit import EDIT_KINDS, EditKind, EditTask, edit_kinds, sample_edit
from omnigen2.microworld.tasks.preference import looks_nice
from omnigen2.microworld.tasks.question import QUESTION_KINDS, Question, QuestionKind, sample_question
from omnigen2.microworld.tasks.record import from_json, to_json
from omnigen2.microworld.tasks.rewards import (
    MicroContextReward,
    MicroEditReward,
    MicroGenEvalReward,
    MicroGlyphReward,
    MicroPreferenceReward,
)
from omnigen2.microworld.tasks.samples import to_sample
from omnigen2.microworld.tasks.specification import (
    FAMILIES,
    TAGS,
    Beside,
    Clause,
    Family,
    Include,
    Specification,
    Tag,
    Verdict,
    check,
    stands,
)
from omnigen2.microworld.tasks.tasks import (
    DrawingTask,
    kinds_of,
    sample_task,
)
from omnigen2.microworld.tasks.verify import (
    ContextVerdict,
    EditVerdict,
    JointVerdict,
    verify,
    verify_caption,
    verify_context,
    verify_edit,
)

__all__ = [
    "CONTEXT_KINDS", "EDIT_KINDS", "FAMILIES", "QUESTION_KINDS", "TAGS", "Beside", "Caption", "Clause", "ContextKind",
    "ContextTask", "ContextVerdict", "DrawingTask", "EditKind", "EditTask", "EditVerdict", "Family", "Include",
    "JointVerdict", "MicroContextReward", "MicroEditReward", "MicroGenEvalReward", "MicroGlyphReward",
    "MicroPreferenceReward", "Question", "QuestionKind", "Specification", "Tag", "Verdict", "caption_text", "check",
    "context_kinds", "edit_kinds", "from_json", "kinds_of", "looks_nice", "sample_caption", "sample_context",
    "sample_edit", "sample_question", "sample_task", "stands", "to_json", "to_sample", "verify", "verify_caption",
    "verify_context", "verify_edit",
]  # fmt: skip
