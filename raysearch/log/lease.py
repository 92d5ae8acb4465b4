"""Who is writing to a study: a small JSON text that a driver leaves while it works."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

LOCK = "lock"  # the file in a study that holds it


def mine() -> dict[str, Any]:
    """What identifies this process, on any machine and across restarts."""
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": os.getpid(),
        "process start": _start(os.getpid()),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def parse(text: bytes) -> dict[str, Any] | None:
    """The lease in a text; None if there is none, or it is half written."""
    try:
        lease = json.loads(text)
    except ValueError:
        return None
    return lease if isinstance(lease, dict) and "pid" in lease else None


def describe(lease: dict[str, Any]) -> str:
    """The lease for people."""
    return f"process {lease['pid']} on {lease.get('host')}, since {lease.get('since')}"


def is_here(lease: dict[str, Any]) -> bool:
    """Whether the lease was written on this machine."""
    return bool(lease.get("host") == socket.gethostname())


def is_alive(lease: dict[str, Any]) -> bool:
    """Whether the process that wrote the lease, on this machine, still runs."""
    pid = lease["pid"]
    if lease.get("boot") != _boot() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(lease.get("process start") == _start(pid))


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None  # not Linux


def _start(pid: int) -> str | None:
    """When the process started, in clock ticks since boot: tells reused pids apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
