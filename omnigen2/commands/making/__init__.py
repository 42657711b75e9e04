"""Commands that write models with random weights, to try things and to measure them, and what is fitted to a model."""
