"""TODO."""

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
from omnigen2.microworld.tasks.samples import png, to_sample
from omnigen2.microworld.tasks.specification import TAGS, Beside, Clause, Include, Specification, Tag, Verdict, check
from omnigen2.microworld.tasks.tasks import (
    FAMILIES,
    DrawingTask,
    Family,
    family_of,
    instruction_of,
    kinds_of,
    references_of,
    sample_task,
    target_of,
)
from omnigen2.microworld.tasks.tokenizer import SPECIALS, UNKNOWN, WordTokenizer
from omnigen2.microworld.tasks.verify import (
    ContextVerdict,
    EditVerdict,
    preserved_pixels,
    verify_caption,
    verify_context,
    verify_edit,
)

__all__ = [
    "CONTEXT_KINDS", "EDIT_KINDS", "FAMILIES", "QUESTION_KINDS", "SPECIALS", "TAGS", "UNKNOWN", "Beside", "Caption",
    "Clause", "ContextKind", "ContextTask", "ContextVerdict", "DrawingTask", "EditKind", "EditTask", "EditVerdict",
    "Family", "Include", "MicroContextReward", "MicroEditReward", "MicroGenEvalReward", "MicroGlyphReward",
    "MicroPreferenceReward", "Question", "QuestionKind", "Specification", "Tag", "Verdict", "WordTokenizer",
    "caption_text", "check", "context_kinds", "edit_kinds", "family_of", "from_json", "instruction_of", "kinds_of",
    "looks_nice", "png", "preserved_pixels", "references_of", "sample_caption", "sample_context", "sample_edit",
    "sample_question", "sample_task", "target_of", "to_json", "to_sample", "verify_caption", "verify_context",
    "verify_edit",
]  # fmt: skip
