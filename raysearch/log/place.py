"""From a path or URI to the storage there; to add a kind, write it and its line in SCHEMES."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from ..errors import UsageError
from .local import LocalStorage
from .objects import ObjectStorage
from .storage import Storage


def _folder(uri: str) -> Storage:
    return LocalStorage(Path(uri.partition("://")[2]))


def _bucket(uri: str) -> Storage:
    from pyarrow import fs

    if uri.startswith("s3:") and "allow_delayed_open=" not in uri:
        # else an object takes three requests, however small it is
        uri += ("&" if "?" in uri else "?") + "allow_delayed_open=true"
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"study: {redact(uri)!r} cannot be opened: {error}") from None
    return ObjectStorage(fs.SubTreeFileSystem(path, filesystem), redact(uri))


#: what stands before "://" -> what opens such a URI
SCHEMES: dict[str, Callable[[str], Storage]] = {
    "file": _folder,
    "s3": _bucket,
    "gs": _bucket,
    "gcs": _bucket,
    "abfs": _bucket,
    "abfss": _bucket,
}

#: User and password. On Azure, the container stands before "@", if no password does.
_USER = re.compile(r"(?<!abfs)(?<!abfss)://[^/]*@|://[^/]*:[^/]*@")


def open_storage(place: str | Path | Storage) -> Storage:
    """The storage at a path or URI (file, s3, gs, abfs); nothing is created.

    >>> open_storage("ftp://host/study")
    Traceback (most recent call last):
    raysearch.errors.UsageError: study: expected a folder or a URI with ... found 'ftp'...
    """
    if isinstance(place, Storage):
        return place
    scheme, colon, _ = str(place).partition("://")
    if isinstance(place, Path) or not colon:
        if not str(place) or "\0" in str(place):
            raise UsageError(f"study: expected a folder or URI, found {str(place)!r}")
        return LocalStorage(Path(place))
    if scheme not in SCHEMES:
        raise UsageError(
            f"study: expected a folder or a URI with one of {sorted(SCHEMES)}, "
            f"found {scheme!r} in {redact(str(place))!r}"
        )
    return SCHEMES[scheme](str(place))


def redact(uri: str) -> str:
    """The URI without user, password and query.

    >>> redact("s3://key:secret@bucket/runs?endpoint_override=host")
    's3://bucket/runs'
    >>> redact("abfs://container@account.dfs.core.windows.net/runs")  # which holds neither
    'abfs://container@account.dfs.core.windows.net/runs'
    """
    return re.sub(r"\?.*", "", _USER.sub("://", uri))
