"""A small world of drawn scenes with exact captions, edits, references and an exact verifier.

It is for checking machinery and trends offline, in minutes; it says nothing about real pictures.

    rng = numpy.random.default_rng(0)
    vocabulary = full_vocabulary(64)
    task = sample_edit(vocabulary, rng, "recolour")
    picture = draw(task.target, 64)
    assert verify_edit(task, picture).exact
"""

from omnigen2.microworld.caption import Caption, caption_text, sample_caption
from omnigen2.microworld.context import CONTEXT_KINDS, ContextKind, ContextTask, context_kinds, sample_context
from omnigen2.microworld.draw import Pixels, draw
from omnigen2.microworld.edit import EDIT_KINDS, EditKind, EditTask, edit_kinds, sample_edit
from omnigen2.microworld.fit import Seen
from omnigen2.microworld.glyph import GlyphTask, draw_glyphs, glyph_score, read_glyphs, sample_glyphs
from omnigen2.microworld.preference import looks_nice
from omnigen2.microworld.question import QUESTION_KINDS, Question, QuestionKind, sample_question
from omnigen2.microworld.read import Reading, read
from omnigen2.microworld.sampling import balanced, sample_scene
from omnigen2.microworld.scene import EASY, Background, Item, Scene, Vocabulary, full_vocabulary
from omnigen2.microworld.specification import TAGS, Beside, Clause, Include, Specification, Tag, Verdict, check
from omnigen2.microworld.tokenizer import WordTokenizer
from omnigen2.microworld.verify import (
    ContextVerdict,
    EditVerdict,
    preserved_pixels,
    verify_caption,
    verify_context,
    verify_edit,
)

__all__ = [
    "CONTEXT_KINDS",
    "EASY",
    "EDIT_KINDS",
    "QUESTION_KINDS",
    "TAGS",
    "Background",
    "Beside",
    "Caption",
    "Clause",
    "ContextKind",
    "ContextTask",
    "ContextVerdict",
    "EditKind",
    "EditTask",
    "EditVerdict",
    "GlyphTask",
    "Include",
    "Item",
    "Pixels",
    "Question",
    "QuestionKind",
    "Reading",
    "Scene",
    "Seen",
    "Specification",
    "Tag",
    "Verdict",
    "Vocabulary",
    "WordTokenizer",
    "balanced",
    "caption_text",
    "check",
    "context_kinds",
    "draw",
    "draw_glyphs",
    "edit_kinds",
    "full_vocabulary",
    "glyph_score",
    "looks_nice",
    "preserved_pixels",
    "read",
    "read_glyphs",
    "sample_caption",
    "sample_context",
    "sample_edit",
    "sample_glyphs",
    "sample_question",
    "sample_scene",
    "verify_caption",
    "verify_context",
    "verify_edit",
]
