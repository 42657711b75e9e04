"""Rotary position embeddings over (instance, row, column)."""
