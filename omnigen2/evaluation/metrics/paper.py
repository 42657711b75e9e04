"""Published rows, to be shown beside ours: only those whose source could be read.

The paper's versions differ. Those of June 2025 (`V2`) report the model before reinforcement learning, the later ones
the model after it (`V4`), and what that one was before it (`V4_BASE`, which is not the model of June). A row says which
it is.
"""

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


V2 = "OmniGen2"
"""The model of arXiv:2506.18871v2, without reinforcement learning."""
V4 = "OmniGen2 after RL"
"""The model of arXiv:2506.18871v4."""
V4_BASE = "OmniGen2 before RL"
"""What the model of arXiv:2506.18871v4 was before reinforcement learning: the base rows of its Tables 5 and 10."""
OMNICONTEXT = PaperTable(
    source="arXiv:2506.18871v4, Tables 4, 7, 8 and 9; before RL, Table 5",
    column="overall",
    rows={
        V4: {
            "single_character": 8.19,
            "single_object": 8.63,
            "multi_character": 7.45,
            "multi_object": 7.80,
            "multi_character_object": 7.93,
            "scene_character": 7.75,
            "scene_object": 7.91,
            "scene_character_object": 7.93,
            "Single": 8.41,
            "Multiple": 7.73,
            "Scene": 7.86,
            "overall": 7.95,
        },
        V4_BASE: {"overall": 7.18},
    },
    note=(
        "The paper was judged by GPT-4.1. For multi_object its Table 4 prints 7.91, and Table 8 7.80, which is what "
        "the printed means fit."
    ),
)
GENEVAL = PaperTable(
    source=(
        "arXiv:2506.18871v2 as quoted by the readme of Ovis-U1 (AIDC-AI/Ovis-U1); arXiv:2506.18871v4, Table 11, and "
        "before RL Table 5"
    ),
    column="correct",
    rows={
        V2: {
            "single_object": 1.00,
            "two_object": 0.95,
            "counting": 0.64,
            "colors": 0.88,
            "position": 0.55,
            "color_attr": 0.76,
            "overall": 0.80,
        },
        f"{V2}, prompts rewritten": {
            "single_object": 0.99,
            "two_object": 0.96,
            "counting": 0.74,
            "colors": 0.98,
            "position": 0.71,
            "color_attr": 0.75,
            "overall": 0.86,
        },
        V4: {
            "single_object": 0.99,
            "two_object": 1.00,
            "counting": 0.93,
            "colors": 0.91,
            "position": 1.00,
            "color_attr": 0.86,
            "overall": 0.95,
        },
        V4_BASE: {"overall": 0.78},
    },
    note="Judged by GenEval's object detector; verdicts of another detector are not comparable.",
)
GEDIT = PaperTable(
    source="arXiv:2506.18871v2 as quoted in arXiv:2508.02324 (Qwen-Image); arXiv:2506.18871v4, Tables 3 and 5",
    column="O",
    rows={V2: {"en": 6.41}, V4: {"en": 7.21}, V4_BASE: {"en": 6.28}},
    note=(
        "Judged by GPT-4.1 on the English instructions. SC and PQ are 7.16 and 6.77, before RL 6.72 and 7.20, after it "
        "7.58 and 7.94."
    ),
)
IMGEDIT = PaperTable(
    source=(
        "arXiv:2506.18871v2 as quoted by the readmes of Ovis-U1 (AIDC-AI/Ovis-U1) and STAR; arXiv:2506.18871v4, Table 2"
    ),
    column="score",
    rows={
        V2: {
            "add": 3.57,
            "adjust": 3.06,
            "extract": 1.77,
            "replace": 3.74,
            "remove": 3.20,
            "background": 3.57,
            "style": 4.81,
            "compose": 2.52,
            "action": 4.68,
            "overall": 3.44,
        },
        V4: {"overall": 3.69},
    },
    note="Judged by the benchmark's own prompts, from 1 to 5; `compose` is called Hybrid in the tables.",
)
EMU_EDIT_SOURCE = "arXiv:2506.18871v4, Tables 3 and 10"
EMU_EDIT_V2 = f"arXiv:2506.18871v2 as quoted by a summary of EditMGT; {EMU_EDIT_SOURCE}"
EMU_EDIT = (
    PaperTable(
        source=EMU_EDIT_V2,
        column="CLIP-I",
        rows={V2: {"overall": 0.876}, V4: {"overall": 0.896}, V4_BASE: {"overall": 0.877}},
        note="By CLIP ViT-B/32.",
    ),
    PaperTable(
        source=EMU_EDIT_SOURCE,
        column="CLIP-out",
        rows={V4: {"overall": 0.311}, V4_BASE: {"overall": 0.309}},
        note="By CLIP ViT-B/32.",
    ),
    PaperTable(
        source=EMU_EDIT_V2,
        column="DINO",
        rows={V2: {"overall": 0.822}, V4: {"overall": 0.876}, V4_BASE: {"overall": 0.823}},
        note="By DINO ViT-S/16.",
    ),
)
MMBENCH = PaperTable(
    source="arXiv:2506.18871v4, Table 2: Qwen2.5-VL-3B, which stays frozen",
    column="accuracy",
    rows={V4: {"overall": 0.791}},
    note="Printed as 79.1.",
)
MMMU = PaperTable(
    source="arXiv:2506.18871v4, Table 2: Qwen2.5-VL-3B, which stays frozen",
    column="accuracy",
    rows={V4: {"overall": 0.531}},
    note="Printed as 53.1, over all questions of the validation split; ours is over its multiple-choice questions.",
)
