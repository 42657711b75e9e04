"""What a drawing may reuse of its earlier steps: rules, and the drawings that follow them."""

from omnigen2.dit.cache.clock import Clock, Count, Velocity
from omnigen2.dit.cache.fit import FEWEST, Fit, Pairs, Watching
from omnigen2.dit.cache.guidance import GuidanceReuse
from omnigen2.dit.cache.history import History, lagrange, taylor
from omnigen2.dit.cache.policy import (
    BlockCache,
    Cache,
    FirstBlockCache,
    ForecastCache,
    Order,
    StepCache,
    TaylorSeer,
    TeaCache,
)
from omnigen2.dit.cache.rows import Alone, Part, Rows
from omnigen2.dit.cache.run import Run

__all__ = [
    "FEWEST",
    "Alone", "BlockCache", "Cache", "Clock", "Count", "FirstBlockCache", "Fit", "ForecastCache", "GuidanceReuse",
    "History", "Order", "Pairs", "Part", "Rows", "Run", "StepCache", "TaylorSeer", "TeaCache", "Velocity", "Watching",
    "lagrange", "taylor",
]  # fmt: skip
