"""Published rows, to be shown beside ours: only those whose source could be read."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows of a published table.

    Attributes:
        source: Where they are printed.
        column: The score of our table that they are about.
        rows: For each model, its numbers by line of our table.
        note: What to know when comparing.
    """

    source: str
    column: str
    rows: Mapping[str, Mapping[str, float]]
    note: str


OMNICONTEXT = PaperTable(
    source="arXiv:2506.18871, Table 4",
    column="overall",
    rows={
        "OmniGen2": {
            "single_character": 8.19,
            "single_object": 8.63,
            "multi_character": 7.45,
            "multi_object": 7.91,
            "multi_character_object": 7.93,
            "scene_character": 7.75,
            "scene_object": 7.91,
            "scene_character_object": 7.93,
            "Single": 8.41,
            "Multiple": 7.73,
            "Scene": 7.86,
            "overall": 7.95,
        }
    },
    note=(
        "The paper was judged by GPT-4.1. The means of its own printed subtasks are Multiple 7.76 and overall 7.96; "
        "its rows are shown as printed."
    ),
)
GENEVAL = PaperTable(
    source="OmniGen2's rows of GenEval as quoted by later work (Lumina-DiMOO, Skywork UniPic)",
    column="correct",
    rows={
        "OmniGen2": {
            "single_object": 1.00,
            "two_object": 0.95,
            "counting": 0.64,
            "colors": 0.88,
            "position": 0.55,
            "color_attr": 0.76,
            "overall": 0.80,
        },
        "OmniGen2, prompts rewritten": {
            "single_object": 0.99,
            "two_object": 0.96,
            "counting": 0.74,
            "colors": 0.98,
            "position": 0.71,
            "color_attr": 0.75,
            "overall": 0.86,
        },
    },
    note="Judged by GenEval's object detector; verdicts of another detector are not comparable.",
)
GEDIT = PaperTable(
    source="OmniGen2's row as quoted in arXiv:2508.02324 (Qwen-Image)",
    column="O",
    rows={"OmniGen2": {"en": 6.41}},
    note="SC 7.16, PQ 6.77 and O 6.41 on the English instructions, judged by GPT-4.1.",
)
