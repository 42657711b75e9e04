"""A small world of drawn scenes with exact captions, edits, references and an exact verifier.

It is for checking machinery and trends offline, in minutes; it says nothing about real pictures.

    rng = numpy.random.default_rng(0)
    vocabulary = full_vocabulary(64)
    task = sample_edit(vocabulary, rng, "recolour")
    picture = draw(task.target, 64)
    assert verify_edit(task, picture).exact
"""

from omnigen2.microworld.tasks import (
    CONTEXT_KINDS,
    EDIT_KINDS,
    QUESTION_KINDS,
    TAGS,
    Beside,
    Caption,
    Clause,
    ContextKind,
    ContextTask,
    ContextVerdict,
    EditKind,
    EditTask,
    EditVerdict,
    Include,
    Question,
    QuestionKind,
    Specification,
    Tag,
    Verdict,
    WordTokenizer,
    caption_text,
    check,
    context_kinds,
    edit_kinds,
    looks_nice,
    preserved_pixels,
    sample_caption,
    sample_context,
    sample_edit,
    sample_question,
    verify_caption,
    verify_context,
    verify_edit,
)
from omnigen2.microworld.trained import copy_micro_model
from omnigen2.microworld.world import (
    EASY,
    Background,
    GlyphTask,
    Item,
    Pixels,
    Reading,
    Scene,
    Seen,
    Vocabulary,
    balanced,
    draw,
    draw_glyphs,
    full_vocabulary,
    glyph_score,
    read,
    read_glyphs,
    sample_glyphs,
    sample_scene,
)

__all__ = [
    "CONTEXT_KINDS", "EASY", "EDIT_KINDS", "QUESTION_KINDS", "TAGS", "Background", "Beside", "Caption", "Clause",
    "ContextKind", "ContextTask", "ContextVerdict", "EditKind", "EditTask", "EditVerdict", "GlyphTask", "Include",
    "Item", "Pixels", "Question", "QuestionKind", "Reading", "Scene", "Seen", "Specification", "Tag", "Verdict",
    "Vocabulary", "WordTokenizer", "balanced", "caption_text", "check", "context_kinds", "copy_micro_model", "draw",
    "draw_glyphs", "edit_kinds", "full_vocabulary", "glyph_score", "looks_nice", "preserved_pixels", "read",
    "read_glyphs", "sample_caption", "sample_context", "sample_edit", "sample_glyphs", "sample_question",
    "sample_scene", "verify_caption", "verify_context", "verify_edit",
]  # fmt: skip
