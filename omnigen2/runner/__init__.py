"""`lightning run RECIPE.yaml`: trains whatever LightningModule a recipe names, and goes on where it was stopped."""

from omnigen2.runner.launch import Options, launch

__all__ = ["Options", "launch"]
