"""The optimizer core: update rules, schedules and transforms for training loops."""

from .rules_base import Rule, State
from .rules_momentum import SGD
from .schedules import Constant, Exponential, Linear, Schedule

__all__ = ["SGD", "Constant", "Exponential", "Linear", "Rule", "Schedule", "State"]
