"""Reports of micro-world runs: the curriculum, the ablation with the paper's findings, and the sheet of all tasks."""

from omnigen2.microworld.reports.ablation import Ablation
from omnigen2.microworld.reports.curriculum import MicroCurriculum
from omnigen2.microworld.reports.preview import preview

__all__ = ["Ablation", "MicroCurriculum", "preview"]
