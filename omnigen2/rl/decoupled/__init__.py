"""Alignment without log-probabilities: any solver draws, and only the last state is learned from."""

from omnigen2.rl.decoupled.nft import DiffusionNFTObjective, NFTLoss, optimality

__all__ = ["DiffusionNFTObjective", "NFTLoss", "optimality"]
