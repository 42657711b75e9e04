"""The paper's data construction: clips become training examples by recipes of steps, on one machine or a cluster.

Importing this needs what `omnigen2.data` needs; Ray, decoders and models are imported where they are used.
"""

from omnigen2.curation.curate import Progress, curate, write_results
from omnigen2.curation.engine import Engine, InProcess, Work
from omnigen2.curation.items import Clip, CurationError, Dropped, Frame, Item, OpenClip, Outcome, Subject
from omnigen2.curation.on_ray import RayEngine
from omnigen2.curation.recipe import Recipe, Section, read_recipe
from omnigen2.curation.records import Finished, example
from omnigen2.curation.retune import Retuned, retune
from omnigen2.curation.step import Count, End, Limiting, Resources, Scoring, Step, through
from omnigen2.curation.store import Store, claimed_folder
from omnigen2.curation.together import Example, Together

__all__ = [
    "Clip", "Count", "CurationError", "Dropped", "End", "Engine", "Example", "Finished", "Frame", "InProcess", "Item",
    "Limiting", "OpenClip", "Outcome", "Progress", "RayEngine", "Recipe", "Resources", "Retuned", "Scoring", "Section",
    "Step", "Store", "Subject", "Together", "Work", "claimed_folder", "curate", "example", "read_recipe", "retune",
    "through", "write_results",
]  # fmt: skip
