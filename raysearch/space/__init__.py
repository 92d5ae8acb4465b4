"""What is searched: parameters, their conditions and constraints."""

from .columns import Columns
from .parameters import Choice, Float, Int, Parameter
from .space import Space, Verdict

__all__ = ["Choice", "Columns", "Float", "Int", "Parameter", "Space", "Verdict"]
