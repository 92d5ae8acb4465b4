"""The door of a job server: does it answer, does it ask for a token, is ours the right one?

Asked with few bytes and a time limit, before Ray is imported or anything is sent.
"""

from __future__ import annotations

import json
import os
import ssl
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, getproxies, proxy_bypass

from ..engine.ray_access import OPEN, PROBE_SECONDS, insecure, read_token, refused, token_source
from ..errors import ClusterError

_REFUSALS = (401, 403)
_HERE = ("127.0.0.1", "localhost", "::1")


def knock(address: str) -> None:
    """Raise ClusterError unless the job server at "http://host:port" would take a job from us."""
    check_form(address)
    _pass_by_proxies(address)
    try:
        status, answer = _ask(address, None)
        locked = status in _REFUSALS
        if locked:
            token = read_token()
            if token is not None:
                status, answer = _ask(address, token)
            if status in _REFUSALS:
                raise ClusterError(f"address: the head at {address} {refused(token_source())}")
        if status != 200 or "ray_version" not in answer:
            raise ClusterError(
                f"address: what answers at {address} is no job server of Ray (HTTP status "
                f"{status}); expected that of a head's dashboard, as in http://127.0.0.1:8265"
            )
        if not locked and not insecure():
            raise ClusterError(f"address: the head at {address} {OPEN}")
    except (OSError, HTTPException) as error:
        why = error.reason if isinstance(error, URLError) else error
        tls = "; set SSL_CERT_FILE to the file of its authority" * isinstance(why, ssl.SSLError)
        raise ClusterError(
            f"address: no job server answers at {address} ({why}{tls}); is the head running, with "
            "a dashboard (raysearch[cluster]), and does the port, or a tunnel to it, lead there?"
        ) from error


def check_form(address: str) -> None:
    """Raise ClusterError unless the address looks like one of a job server."""
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna")
        fits = parts.scheme in ("http", "https") and bool(host) and bool(parts.port)
    except ValueError:  # a port that is no number, a name with nothing between two dots
        fits = False
    if not fits or "@" in address:
        raise ClusterError(
            f'address: expected that of a head\'s dashboard, as in "http://host:8265", '
            f"found {address!r}"
        )


def travels_in_clear(address: str) -> bool:
    """Whether others on the way could read the token."""
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in _HERE


def proxy_of(address: str) -> str | None:
    """The variable that names the proxy on the way there, as Ray's client and we take it."""
    parts, named = urlsplit(address), getproxies()
    if proxy_bypass(parts.netloc):
        return None
    return next((f"{kind}_proxy" for kind in (parts.scheme, "all") if kind in named), None)


def _pass_by_proxies(address: str) -> None:
    """This machine is reached without a proxy, which would read the token, by Ray's client, too."""
    if urlsplit(address).hostname in _HERE and proxy_of(address) is not None:
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
        os.environ["no_proxy"] = ",".join(filter(None, (others, *_HERE, "[::1]")))


class _Stay(HTTPRedirectHandler):
    """Follows nobody, who might want the token."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(address: str, token: str | None) -> tuple[int, dict[str, Any]]:
    """Status and answer to the question for the version."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = Request(f"{address.rstrip('/')}/api/version", headers=headers)
    try:
        with build_opener(_Stay).open(request, timeout=PROBE_SECONDS) as response:
            status, content = response.status, response.read(10_000)
    except HTTPError as error:
        return error.code, {}
    try:
        answer = json.loads(content)
    except ValueError:  # not JSON
        answer = None
    return status, answer if isinstance(answer, dict) else {}
