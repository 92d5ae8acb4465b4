"""Which Ray is meant, whether it is there, and whether it lets in only those with a token.

Ray without a token runs code for anybody who reaches its ports, so such a head is refused
unless the variable RAYSEARCH_INSECURE says otherwise. Ray itself would try an address where
nothing answers for 80 seconds; here one connection is tried before.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ClusterError

PROBE_SECONDS = 5.0
INSECURE = "RAYSEARCH_INSECURE"
OPEN = (
    "lets anybody in without a token, and so runs code for all who reach its ports; start it with "
    f"a token (RAY_AUTH_MODE=token, see docs/security.md), or set {INSECURE}=1 to use it as it is"
)
_CLIENT_PORT = 10001
_SETTINGS = b"\x04"  # the type of the frame with which HTTP/2, and so a head, begins
_ALERT = b"\x15"  # with which TLS, and so a head with certificates, refuses what is plain


def find(address: str | None) -> str | None:
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
        return address if ":" in address.removeprefix("ray://") else f"{address}:{_CLIENT_PORT}"
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
        with socket.create_connection((host.strip("[]"), number), PROBE_SECONDS) as connection:
            said = _greeting(connection) if default_port is None else b""
    except OSError as error:
        raise ClusterError(
            f"address {address!r}: nothing answers at {host}:{number} ({error}); is the head "
            "running (`ray status` there), and may this machine reach its port?"
        ) from error
    if said.startswith(b"HTTP/1"):
        raise ClusterError(
            f"address {address!r}: a web server answers at {host}:{number}, such as Ray's "
            "dashboard; expected the head's own port, which is 6379 if not set otherwise"
        )
    if said and said[3:4] != _SETTINGS and said[:1] != _ALERT:
        raise ClusterError(
            f"address {address!r}: what answers at {host}:{number} is no head of Ray, but begins "
            f"with {said!r}; expected a head's own port, which is 6379 if not set otherwise"
        )


def _greeting(connection: socket.socket) -> bytes:
    """The start of what is said to a web client, to whom a head, too, says something at once.

    Empty if the connection is closed. Raises TimeoutError if nothing is said; Ray would wait for
    forty seconds.
    """
    with suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(9)
    return b""


# --- who is let in ----------------------------------------------------------------------------


def insecure() -> bool:
    """Whether the user wants to use heads that let anybody in."""
    return os.environ.get(INSECURE, "").lower() in ("1", "true", "yes")


def token_source() -> str | None:
    """Where Ray would take the token from, in its order; None: there is none."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(name):
            return name
    return str(token_file()) if token_file().exists() else None


def token_file() -> Path:
    """Where Ray keeps the token of this user."""
    return Path.home() / ".ray" / "auth_token"


def read_token() -> str | None:
    """The token that Ray would show."""
    token = os.environ.get("RAY_AUTH_TOKEN")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or token_file()
    with suppress(OSError):
        return token or Path(path).read_text().strip()
    return None


def authenticate(target: str | None) -> None:
    """Use the token there is; refuse a head that asks for none; give a new Ray its own.

    target  "host:port" of a head, "ray://host:port" of its server for clients; None: a new Ray
    """
    locked = target is not None and _turned_away(target, "disabled")
    if target is not None and not locked and not insecure():
        raise ClusterError(f"address: the head at {target} {OPEN}")
    known = token_source()
    if target is None and known is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if target is None or known is not None:  # a Ray that asks for none takes a token, too
        use_token()
    if target is not None and locked and (known is None or _turned_away(target, "token")):
        raise ClusterError(f"address: the head at {target} {refused(known)}")


def refused(source: str | None) -> str:
    """What a head does that asks for a token, and has not been given the right one."""
    if source is None:
        return (
            "asks for a token, and there is none here: put the cluster's into "
            "~/.ray/auth_token (mode 0600), or its path into RAY_AUTH_TOKEN_PATH"
        )
    return f"refuses the token from {source}: it is not that of this cluster"


def use_token() -> None:
    """Have Ray, imported or not, show its token; the file of it is for this user alone."""
    with suppress(OSError):
        path = token_file()
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):  # as Ray makes it
            path.chmod(0o600)
    _set_mode(os.environ.get("RAY_AUTH_MODE", "token"))


def _set_mode(mode: str) -> None:
    from ray._raylet import Config  # type: ignore[attr-defined]  # not in its stub

    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")  # it has been read when ray was imported


def _turned_away(target: str, mode: str) -> bool:
    """Whether the head refuses to say its name to one who shows no token, or the one here."""
    from ray.exceptions import AuthenticationError

    before = os.environ.get("RAY_AUTH_MODE")
    _set_mode(mode)
    try:
        with _hushed():
            if target.startswith("ray://"):
                return _client_turned_away(target, read_token() if mode == "token" else None)
            from ray._raylet import GcsClient  # type: ignore[attr-defined]  # not in its stub

            GcsClient(address=target)
    except AuthenticationError:
        return True
    except Exception as error:
        raise ClusterError(
            f"address: what answers at {target} is no head of Ray, or one of another version: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        if before is None:
            del os.environ["RAY_AUTH_MODE"]
        else:
            _set_mode(before)
    return False


def _client_turned_away(target: str, token: str | None) -> bool:
    """The same for Ray Client's server, which answers a ping."""
    import grpc
    from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

    shown = [] if token is None else [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(target.removeprefix("ray://")) as channel:
        ask = ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo
        ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
        try:
            ask(ping, timeout=PROBE_SECONDS, metadata=[*shown, ("client_id", "knock")])
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return True
            raise ConnectionError(error.details()) from None
    return False


@contextmanager
def _hushed() -> Iterator[None]:
    """Standard error leads nowhere: there Ray's core writes that it has been turned away."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
