"""How many trials share a GPU, learnt from the memory that they take: ``num_gpus="auto"``.

At first a trial has a GPU to itself. Once peaks are known, n trials share one: the largest level
with n h p <= M, where p is the highest peak so far, M the memory of the smallest GPU and h some
headroom. When memory runs out nevertheless, half as many share a GPU from then on. After some
tasks that went well, one level more is tried again, so that a trial which is too large for any
share does not keep all later ones apart; these are twice as many each time, so that shares settle.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

AUTO = "auto"
LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)  # few, since each change costs new workers
_HEADROOM = 1.2
_PATIENCE = 16

#: a line of a traceback, other than of the source: by torch or cupy; XLA; TensorFlow; CUDA
_RAN_OUT = re.compile(
    r"^(?!\s).*(?:OutOfMemoryError|RESOURCE_EXHAUSTED|ResourceExhaustedError"
    r"|CUDA(?: error:)? out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
    r"|(?:CUBLAS|CUDNN)_STATUS_ALLOC_FAILED)",
    re.MULTILINE,
)


class Memory(NamedTuple):
    """What a worker has taken of its GPU.

    peak   the most that it has held, in bytes
    total  what the GPU has, in bytes
    """

    peak: float
    total: float


@dataclass(frozen=True)
class Packing:
    """What has been learnt.

    peak      the highest so far, in bytes
    total     of the smallest GPU, in bytes; inf: nothing has been measured
    most      trials that share a GPU at most, since memory has run out
    well      how many tasks have gone well since
    patience  so many have to, until one level more is tried
    """

    peak: float = 0.0
    total: float = math.inf
    most: int = LEVELS[-1]
    well: int = 0
    patience: int = _PATIENCE

    @property
    def sharers(self) -> int:
        """How many trials are to share a GPU.

        >>> Packing().saw(Memory(3e9, 16e9)).sharers
        4
        """
        if math.isinf(self.total):
            return 1
        fitting = self.total / (_HEADROOM * self.peak) if self.peak else math.inf
        return _level(min(fitting, self.most))

    def saw(self, memory: Memory) -> Packing:
        """A worker has taken that much."""
        return replace(self, peak=max(self.peak, memory.peak), total=min(self.total, memory.total))

    def went_well(self, sharers: int) -> Packing:
        """A task is over that was to have a GPU with so many."""
        if sharers != self.sharers or self.most == LEVELS[-1]:
            return self
        if self.well + 1 < self.patience:
            return replace(self, well=self.well + 1)
        return replace(self, well=0, most=min(level for level in LEVELS if level > self.most))

    def ran_out(self, sharers: int) -> Packing:
        """Memory has run out where so many were to share a GPU; from now on fewer do.

        A trial that had a GPU to itself says nothing about sharing.
        """
        if sharers == 1 or sharers > self.sharers:  # one of those that began together has said so
            return self
        return replace(self, most=_level(sharers / 2), well=0, patience=2 * self.patience)


def room(gpus: int, held: Collection[int], sharers: int) -> int:
    """How many trials can run at once on so many GPUs, if no more begin than there is place for.

    held     of how many on its GPU each was to be that runs
    sharers  the same, for those to begin

    >>> room(2, [1], 4)
    5
    """
    free = gpus - sum(1 / n for n in held)
    return len(held) + max(0, int(free * sharers + 1e-6))


def _level(most: float) -> int:
    return max((level for level in LEVELS if level <= most), default=1)


def is_auto(options: Mapping[str, Any] | None) -> bool:
    """Whether these `ray_options` leave shares to us."""
    return (options or {}).get("num_gpus") == AUTO


def shared(options: Mapping[str, Any], sharers: int = 1) -> dict[str, Any]:
    """The options, with the share of one of so many."""
    return {**options, "num_gpus": 1 / sharers}


def out_of_memory(report: str) -> bool:
    """Whether a traceback tells that a GPU's memory ran out.

    >>> out_of_memory("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB")
    True
    """
    return _RAN_OUT.search(report) is not None
