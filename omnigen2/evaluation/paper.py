"""Published rows, to be shown beside ours: only those whose source could be read.

The paper's versions differ. Those of June 2025 (`V2`) report the model before reinforcement learning, later ones (`V4`)
the model after it; Table 4's OmniContext rows are of the later ones. A row says which it is.
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
OMNICONTEXT = PaperTable(
    source="arXiv:2506.18871, Table 4",
    column="overall",
    rows={
        V4: {
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
    source=(
        "arXiv:2506.18871v2 as quoted by the readme of Ovis-U1 (AIDC-AI/Ovis-U1); after RL, arXiv:2506.18871v4 as "
        "quoted by two summaries of it"
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
        f"{V4}, prompts rewritten": {"overall": 0.95},
    },
    note="Judged by GenEval's object detector; verdicts of another detector are not comparable.",
)
GEDIT = PaperTable(
    source="arXiv:2506.18871v2 as quoted in arXiv:2508.02324 (Qwen-Image); v4 as quoted by two summaries of it",
    column="O",
    rows={V2: {"en": 6.41}, V4: {"en": 7.21}},
    note=("Judged by GPT-4.1 on the English instructions. SC and PQ are 7.16 and 6.77, after RL 7.58 and 7.94."),
)
IMGEDIT = PaperTable(
    source=(
        "arXiv:2506.18871v2 as quoted by the readmes of Ovis-U1 (AIDC-AI/Ovis-U1) and STAR; v4 as quoted by a summary "
        "of it"
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
EMU_EDIT = (
    PaperTable(
        source="arXiv:2506.18871v2 as quoted by a summary of EditMGT; v4 as quoted by a summary of it",
        column="CLIP-I",
        rows={V2: {"overall": 0.876}, V4: {"overall": 0.896}},
        note="The papers do not say with which CLIP.",
    ),
    PaperTable(
        source="arXiv:2506.18871v4 as quoted by two summaries of it",
        column="CLIP-out",
        rows={V4: {"overall": 0.311}},
        note="The papers do not say with which CLIP.",
    ),
    PaperTable(
        source="arXiv:2506.18871v2 as quoted by a summary of EditMGT; v4 as quoted by two summaries of it",
        column="DINO",
        rows={V2: {"overall": 0.822}, V4: {"overall": 0.876}},
        note="The papers do not say with which DINO.",
    ),
)
MMBENCH = PaperTable(
    source="arXiv:2506.18871v4 as quoted by a summary of it: the numbers of Qwen2.5-VL-3B, which stays frozen",
    column="accuracy",
    rows={V4: {"overall": 0.791}},
    note="Printed as 79.1.",
)
MMMU = PaperTable(
    source="arXiv:2506.18871v4 as quoted by a summary of it: the numbers of Qwen2.5-VL-3B, which stays frozen",
    column="accuracy",
    rows={V4: {"overall": 0.531}},
    note="Printed as 53.1, over all questions of the validation split; ours is over its multiple-choice questions.",
)
