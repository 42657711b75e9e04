"""Tensors computed with the official float32 code, and how to compare with them (see manifest.json)."""
