"""Differentiable phase retrieval for PyTorch: operators, losses, symmetries, solvers and models."""

from phaseret import operators

__version__ = "0.1.0"

__all__ = ["operators"]
