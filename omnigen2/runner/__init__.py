"""TODO."""

from omnigen2.runner.launch import Options, launch

__all__ = ["Options", "launch"]
