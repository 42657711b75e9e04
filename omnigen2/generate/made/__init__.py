"""Model folders of random weights, to measure on."""

from omnigen2.generate.made.full import Sizes, make_full

__all__ = ["Sizes", "make_full"]
