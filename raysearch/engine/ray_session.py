"""A connection to Ray for the length of a search: found or started, and kept quiet.

Ray's own messages, and what trials print, go into the study's log file instead of the
terminal. A Ray that was running before is left running; one that was started here ends
with the search. Ray listens on all interfaces, so one that is started here asks for a
token, which is made for this process and never written to disk.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ClusterError

PROBE_SECONDS = 5.0
MAX_LOG_BYTES = 10_000_000
_CLIENT_PORT = 10001
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

    Raises ClusterError, within 10 seconds, if there is no Ray at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
    import ray

    if ray.is_initialized():  # the user's, who has seen to everything
        yield
        return
    target = _find(address)
    before = set(os.environ)
    if target is None:
        os.environ.update({k: v for k, v in _OWN.items() if k not in before})
    _authenticate(new=target is None)
    handlers = _handlers()
    with _rerouted(log):
        try:
            _init(target, start or {})
            for number, handler in handlers.items():  # Ray has put in its own
                signal.signal(number, handler)
            yield
        finally:
            with suppress(Exception):  # the cluster may be gone
                ray.shutdown()
            for name in set(os.environ) - before:  # the next Ray may want other ones
                if name.startswith("RAY_"):
                    del os.environ[name]


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


# --- where it is ------------------------------------------------------------------------------


def _find(address: str | None) -> str | None:
    """The address of a Ray that answers, or None if a new one is to be started."""
    if address == "local":
        return None
    if address is not None and address.startswith("ray://"):
        warnings.warn(
            "address: Ray Client passes tens of tasks a second; run the search on the cluster "
            "itself if trials are short",
            stacklevel=5,
        )
        _probe(address, address.removeprefix("ray://"), _CLIENT_PORT)
        return address
    found = address if address not in (None, "auto") else _head()
    if found is None and address is None:
        return None
    if found is None:
        raise ClusterError(
            'address "auto": expected a Ray head on this machine, found none; start one with '
            "`ray start --head`, or leave out address to start one for this search"
        )
    try:
        _probe(address or "auto", found, None)
    except ClusterError:
        if address is None and "RAY_ADDRESS" not in os.environ:
            return None  # the file of a head that has died
        raise
    return found


def _head() -> str | None:
    """The head that RAY_ADDRESS or the file of `ray start` names."""
    from ray._private import utils

    return os.environ.get("RAY_ADDRESS") or utils.read_ray_address(None)


def _probe(address: str, place: str, default_port: int | None) -> None:
    """Connect once, because Ray itself would try for 80 seconds."""
    host, _, port = place.rpartition(":") if ":" in place else (place, "", "")
    try:
        number = int(port) if port else default_port
        if not host or number is None:
            raise ValueError
    except ValueError:
        raise ClusterError(
            f'address: expected "host:port", "auto", "local" or "ray://host:port", '
            f"found {address!r}"
        ) from None
    try:
        socket.create_connection((host.strip("[]"), number), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"address {address!r}: nothing answers at {host}:{number} ({error}); is the head "
            "running (`ray status` there), and may this machine reach its port?"
        ) from error


def _authenticate(new: bool) -> None:
    """Use the token there is. A new Ray gets one of its own if there is none."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    known = (
        "RAY_AUTH_TOKEN" in os.environ
        or "RAY_AUTH_TOKEN_PATH" in os.environ
        or (Path.home() / ".ray" / "auth_token").exists()
    )
    if new and not known:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if new or known:  # with a token one may also enter a Ray that asks for none
        from ray._raylet import Config  # type: ignore[attr-defined]  # not in its stub

        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")  # it has been read when ray was imported


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
                self._file.write(text)
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
