"""A connection to Ray for the length of a search: found or started, and kept quiet.

Ray's own messages, and what trials print, go into the study's log file instead of the
terminal, with secrets masked. A Ray that was running before is left running; one that was
started here ends with the search. Ray listens on all interfaces, so one that is started here
asks for a token, which is made for this process and never written to disk; its files lie in a
folder that nobody else can enter, and go with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ClusterError
from ..secret import mask
from .ray_access import PROBE_SECONDS, authenticate, find

MAX_LOG_BYTES = 10_000_000
#: For all processes of a cluster: a machine that falls silent is missed within 11 seconds.
WATCHFUL = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "5000",  # of all, or some cut the connections of others
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
}
_OWN = {  # for a Ray that is started here; what the user has set goes first
    "RAY_task_events_max_num_task_in_gcs": "1000",  # else it grows to 400 MB
    "RAY_task_oom_retries": "0",  # retries are the engine's; Ray's own have no end
    "RAY_ROTATION_MAX_BYTES": str(MAX_LOG_BYTES),  # of what one worker prints
    "RAY_ROTATION_BACKUP_COUNT": "1",
    **WATCHFUL,
}


@contextmanager
def connect(
    address: str | None = None, log: Path | None = None, start: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Ray is there inside of this context.

    address   None: the connection or the head that there is on this machine, else a new
              Ray; "local": a new one; "auto": the head on this machine; "host:port" of a
              head; "ray://host:port"
    log       the file to which messages and what trials print are appended, at most
              10 MB; None: they are dropped
    start     arguments of ray.init for a new Ray, such as num_cpus

    Raises ClusterError, within 10 seconds, if there is no Ray at the address, or one that lets
    anybody in.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
    import ray

    if ray.is_initialized():  # the user's, who has seen to everything
        yield
        return
    target = find(address)
    before = set(os.environ)
    if target is None:
        os.environ.update({k: v for k, v in _OWN.items() if k not in before})
    authenticate(target)
    handlers = _handlers()
    with _rerouted(log), _folder(target) as folder:
        try:
            _init(target, {**folder, **(start or {})})
            for number, handler in handlers.items():  # Ray has put in its own
                signal.signal(number, handler)
            yield
        finally:
            with suppress(Exception):  # the cluster may be gone
                ray.shutdown()
            for name in set(os.environ) - before:  # the next Ray may want other ones
                if name.startswith("RAY_"):
                    del os.environ[name]


@contextmanager
def _folder(target: str | None) -> Iterator[dict[str, str]]:
    """Of a new Ray, for this user alone: what Ray makes in there all users may write to."""
    if target is not None or "RAY_TMPDIR" in os.environ:
        yield {}
        return
    place = "/tmp" if os.name == "posix" else None  # paths of sockets end at 107 bytes
    folder = tempfile.mkdtemp(prefix="raysearch-", dir=place)
    try:
        yield {"_temp_dir": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _init(target: str | None, start: Mapping[str, Any]) -> None:
    import ray

    own = {"include_dashboard": False, **start} if target is None else {}
    try:
        ray.init(target or "local", logging_level=logging.ERROR, **own)
    except Exception as error:
        place = f"the head at {target}" if target else "a new local Ray"
        raise ClusterError(
            f"address: {place} could not be used: {type(error).__name__}: {error}; "
            "do the versions of Ray and Python agree, and RAY_AUTH_TOKEN if it asks for one?"
        ) from error


def check_alive() -> None:
    """Raise ClusterError if the head, or this machine's raylet, is gone.

    Ray itself would notice after 15 to 60 seconds, and end this process.
    """
    from ray._private import worker

    node = worker._global_node
    if node is None:
        return  # connected by Ray Client, which says so itself
    host, _, port = node.gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS).close()
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.settimeout(PROBE_SECONDS)
            raylet.connect(node.raylet_socket_name)
    except OSError as error:
        raise ClusterError(f"Ray has gone away ({error})") from error


# --- what is said -----------------------------------------------------------------------------


def _handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    return {number: handler for number, handler in handlers.items() if handler is not None}


@contextmanager
def _rerouted(log: Path | None) -> Iterator[None]:
    """What Ray would print on this terminal, and its warnings, go to the file."""
    from ray._private import worker

    sink = _Sink(log)
    printer, logger = worker.print_to_stdstream, logging.getLogger("ray")
    handlers, propagate = logger.handlers, logger.propagate
    worker.print_to_stdstream = sink.lines
    logger.handlers, logger.propagate = [logging.StreamHandler(sink)], False
    try:
        yield
    finally:
        worker.print_to_stdstream = printer
        logger.handlers, logger.propagate = handlers, propagate
        sink.close()


class _Sink:
    """A file that takes 10 MB and drops the rest."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a", encoding="utf-8", errors="replace") if path else None
        self._left = MAX_LOG_BYTES - (self._file.tell() if self._file else 0)
        self._lock = threading.Lock()

    def lines(self, data: Mapping[str, Any], ignore_prefix: bool = False) -> None:
        """Take a message as Ray passes it on: lines, and the process that wrote them."""
        source = data.get("pid")
        if source != "autoscaler":  # which describes the cluster every five seconds
            self.write("".join(f"({source}) {line}\n" for line in data["lines"]))

    def write(self, text: str) -> None:
        """Append the text, if it still fits."""
        with self._lock:
            if self._file is None or self._left <= 0:
                return
            self._left -= len(text)
            if self._left <= 0:
                text = "(the rest is left out: this file has reached 10 MB)\n"
            with suppress(OSError):  # a disk that is full; no message is worth a search
                self._file.write(mask(text))
                self._file.flush()

    def flush(self) -> None:
        """Nothing to be done; `write` does it."""

    def close(self) -> None:
        """Close the file; what comes later is dropped."""
        with self._lock:
            if self._file is not None:
                with suppress(OSError):
                    self._file.close()
            self._file = None
