"""Which samples come together: token budgets, mixing by weight, dropout of conditions, and the resumable loader."""

from omnigen2.data.batches.budget import TokenBudget
from omnigen2.data.batches.collate import Batch, BrokenSamples, Collate, Example, Pixels, Precomputed, resized
from omnigen2.data.batches.dropout import ConditionDropout
from omnigen2.data.batches.mixture import Mixture
from omnigen2.data.batches.planner import Mixing, Pick, Planner
from omnigen2.data.batches.ranks import Replica

__all__ = [
    "Batch", "BrokenSamples", "Collate", "ConditionDropout", "Example", "Mixing", "Mixture", "Pick", "Pixels",
    "Planner", "Precomputed", "Replica", "TokenBudget", "resized",
]  # fmt: skip
