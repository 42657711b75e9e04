"""What recipes of `omnigen2.curation` name to work on drawn videos: the world's reader as any model, and the truth."""

from omnigen2.microworld.curated.context_truth import InContextTruth, judge_contexts
from omnigen2.microworld.curated.context_words import MicroChanges, MicroInContextWords
from omnigen2.microworld.curated.models import MicroDetector, MicroEmbedder, MicroTracker
from omnigen2.microworld.curated.painter import MicroFiller
from omnigen2.microworld.curated.reflecting import MicroReflector, write_prompts
from omnigen2.microworld.curated.subjects import MicroJudge, MicroNames, MicroSameThing
from omnigen2.microworld.curated.true_words import TrueWords
from omnigen2.microworld.curated.truth import EditTruth, judge_edits
from omnigen2.microworld.curated.words import MicroWords

__all__ = [
    "EditTruth", "InContextTruth", "MicroChanges", "MicroDetector", "MicroEmbedder", "MicroFiller",
    "MicroInContextWords", "MicroJudge", "MicroNames", "MicroReflector", "MicroSameThing", "MicroTracker",
    "MicroWords", "TrueWords", "judge_contexts", "judge_edits", "write_prompts",
]  # fmt: skip
