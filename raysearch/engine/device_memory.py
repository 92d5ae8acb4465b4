"""How much of its GPU a worker has taken, by whoever in it knows.

torch and cupy keep what they have once taken, and know how much that is, but not what CUDA itself
takes of each process. The driver (by the module pynvml) knows of all that a process holds now, what
jax and others hold included; but in some containers it does not know the process.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from .packing import Memory

_CONTEXT = 600e6  # bytes of a CUDA context, about


def measure() -> Memory | None:
    """What this process has taken; None: nobody knows, or it has used no GPU."""
    found = []
    for ask in (_allocators, _driver):
        with suppress(Exception):  # a device that has failed, a library of another version
            found.append(ask())
    return max(filter(None, found), default=None)


def _allocators() -> Memory | None:
    """By torch and cupy; what is not loaded is not asked."""
    torch: Any = sys.modules.get("torch")
    cupy: Any = sys.modules.get("cupy")
    peak, total = 0, 0
    if torch is not None and torch.cuda.is_initialized():
        peak += torch.cuda.max_memory_reserved()
        total = torch.cuda.mem_get_info()[1]
    if cupy is not None and (pool := cupy.get_default_memory_pool().total_bytes()):
        peak += pool
        total = cupy.cuda.Device().mem_info[1]
    return Memory(peak + _CONTEXT, total) if peak else None


def _driver() -> Memory | None:
    """By NVIDIA's driver. Its numbers of devices are not CUDA's, so all are looked at."""
    nvml = import_module("pynvml")
    nvml.nvmlInit()
    for i in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(i)
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(device):
            if process.pid == os.getpid() and process.usedGpuMemory:
                return Memory(process.usedGpuMemory, nvml.nvmlDeviceGetMemoryInfo(device).total)
    return None
