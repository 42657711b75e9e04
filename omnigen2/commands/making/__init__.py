"""Commands that write models with random weights, to try things and to measure them."""
