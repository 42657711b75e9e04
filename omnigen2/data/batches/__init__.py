"""Which samples come together: token budgets, mixing by weight, dropout of conditions, and the resumable loader."""

from omnigen2.data.batches.budget import TokenBudget
from omnigen2.data.batches.collate import Batch, BrokenSamples, Collate, Example, Pixels, Precomputed, resized
from omnigen2.data.batches.dropout import ConditionDropout
from omnigen2.data.batches.mixture import Mixture
from omnigen2.data.batches.order import EpochOrder, order_key
from omnigen2.data.batches.planner import Mixing, Plan, Planner
from omnigen2.data.batches.ranks import Replica
from omnigen2.data.batches.stream import Pick

__all__ = [
    "Batch", "BrokenSamples", "Collate", "ConditionDropout", "EpochOrder", "Example", "Mixing", "Mixture", "Pick",
    "Pixels", "Plan", "Planner", "Precomputed", "Replica", "TokenBudget", "order_key", "resized",
]  # fmt: skip
