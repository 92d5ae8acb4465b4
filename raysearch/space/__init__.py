"""What is searched: parameters, their conditions and constraints."""

from .array import Array
from .choice import Choice
from .columns import Columns
from .kinds import KINDS, parameter_from_json
from .numeric import Float, Int
from .parameters import Parameter
from .space import Space, Verdict, space_of

__all__ = [
    "KINDS",
    "Array",
    "Choice",
    "Columns",
    "Float",
    "Int",
    "Parameter",
    "Space",
    "Verdict",
    "parameter_from_json",
    "space_of",
]
