"""LightningModules, data modules and callbacks, and the parts that recipes make them of; see the sub-rooms."""
