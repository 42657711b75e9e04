"""LightningModules, data modules, callbacks, and the runner behind `lightning run`."""
