"""Hypothesis profiles: `dev` is quick, `ci` is thorough, `deep` is for proofs on demand."""

import os

import torch
from hypothesis import HealthCheck, settings

import tests.typechecker  # noqa: F401  (named in the pytest options; must be loaded before the package is)

torch.set_num_threads(1)

slow_is_fine = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=15, **slow_is_fine)
settings.register_profile("ci", max_examples=40, derandomize=True, **slow_is_fine)
settings.register_profile("deep", max_examples=500, **slow_is_fine)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
