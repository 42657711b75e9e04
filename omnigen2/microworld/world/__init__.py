"""Scenes of drawn shapes: what they are made of, how they are drawn, read back and spoken of."""

from omnigen2.microworld.world.draw import Pixels, Window, draw
from omnigen2.microworld.world.fit import TOLERANCE, Seen
from omnigen2.microworld.world.glyph import MAX_LETTERS, GlyphTask, draw_glyphs, glyph_score, read_glyphs, sample_glyphs
from omnigen2.microworld.world.read import Reading, read
from omnigen2.microworld.world.sampling import (
    QUARTERS,
    Cell,
    Kind,
    balanced,
    cells_for,
    choose,
    choose_some,
    colours_on,
    pairs_on,
    put,
    sample_kinds,
    sample_scene,
)
from omnigen2.microworld.world.scene import (
    EASY,
    GREY,
    IMAGE_SIZES,
    MAX_ITEMS,
    Background,
    Colour,
    ImageSize,
    Item,
    Place,
    Scene,
    Shape,
    Size,
    Texture,
    Vocabulary,
    full_vocabulary,
)
from omnigen2.microworld.world.texture import background_texture
from omnigen2.microworld.world.words import (
    NUMBERS,
    OPPOSITE,
    RELATIONS,
    TEMPLATES,
    Relation,
    all_words,
    describe,
    describe_background,
)

__all__ = [
    "EASY", "GREY", "IMAGE_SIZES", "MAX_ITEMS", "MAX_LETTERS", "NUMBERS", "OPPOSITE", "QUARTERS", "RELATIONS",
    "TEMPLATES", "TOLERANCE", "Background", "Cell", "Colour", "GlyphTask", "ImageSize", "Item", "Kind", "Pixels",
    "Place", "Reading", "Relation", "Scene", "Seen", "Shape", "Size", "Texture", "Vocabulary", "Window", "all_words",
    "background_texture", "balanced", "cells_for", "choose", "choose_some", "colours_on", "describe",
    "describe_background", "draw", "draw_glyphs", "full_vocabulary", "glyph_score", "pairs_on", "put", "read",
    "read_glyphs", "sample_glyphs", "sample_kinds", "sample_scene",
]  # fmt: skip
