"""Reinforcement learning of the transformer: draw, score, compare within groups, update."""

from omnigen2.training.alignment.guards import InvalidRewardGuard, RewardHackingGuard
from omnigen2.training.alignment.module import FlowGRPOModule
from omnigen2.training.alignment.prompts import JsonlPrompts

__all__ = ["FlowGRPOModule", "InvalidRewardGuard", "JsonlPrompts", "RewardHackingGuard"]
