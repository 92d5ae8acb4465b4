"""The command line: `raysearch run`, `status`, `show`, ..."""

from .app import app, main

__all__ = ["app", "main"]
