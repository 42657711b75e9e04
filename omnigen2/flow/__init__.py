"""Rectified flow: path, time, objective, solvers, guidance."""
