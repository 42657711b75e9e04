"""TODO."""

from omnigen2.training.alignment.guards import InvalidRewardGuard, RewardHackingGuard
from omnigen2.training.alignment.module import FlowGRPOModule
from omnigen2.training.alignment.prompts import JsonlPrompts

__all__ = ["FlowGRPOModule", "InvalidRewardGuard", "JsonlPrompts", "RewardHackingGuard"]
