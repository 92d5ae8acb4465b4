"""Surrogate models: what a strategy believes of an objective it has seen at some points."""
