"""TODO."""

from omnigen2.rl.decoupled.nft import DiffusionNFTObjective, NFTLoss, optimality

__all__ = ["DiffusionNFTObjective", "NFTLoss", "optimality"]
