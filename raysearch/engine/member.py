"""Classes with `step`, `save` and `load`: instances that hold a training, live.

Trials take turns with an instance. One that goes on from where the instance stands does just
that; any other has its state loaded first. The state is only asked for where it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..trial import Trial
from .metrics import Invalid

#: what an instance must have -> the arguments; step may take the trial, too
METHODS = {"step": ("config",), "save": (), "load": ("state", "trial")}


class Member:
    """An instance, as an objective that is a generator without end.

    at  the trial, and its step, that the instance stands at; None: who knows
    """

    def __init__(self, instance: Any, takes_trial: bool) -> None:
        self._instance = instance
        self._takes_trial = takes_trial
        self.at: tuple[int, float] | None = None

    def __call__(self, config: Mapping[str, Any], trial: Trial) -> Iterator[tuple[Any, Save]]:
        """Train on from the trial's checkpoint, or from the beginning if it has none."""
        self._instance.load(trial.checkpoint, trial)
        yield from self.go_on(config, trial)

    def go_on(self, config: Mapping[str, Any], trial: Trial) -> Iterator[tuple[Any, Save]]:
        """Train on from where the instance stands."""
        arguments = (config, trial) if self._takes_trial else (config,)
        save = Save(self._instance)
        while True:
            yield self._instance.step(*arguments), save


class Save:
    """Asks an instance for its state."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def __call__(self) -> Mapping[str, Any]:
        """The state now."""
        state = self._instance.save()
        if not isinstance(state, Mapping):
            raise Invalid(f"save: expected a mapping as state, found {type(state).__name__}")
        return state
