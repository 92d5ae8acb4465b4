"""What a job is given beside its files: a place for the study, variables, packages."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from ..engine.ray_access import INSECURE, insecure
from ..errors import ClusterError, UsageError
from ..log.place import SCHEMES, redact
from ..secret import is_secret

_REQUIREMENTS = "requirements.txt"
_AZURE = r"[^/?]+[@.][^/?]+/[^/?]", "abfs://container@account.dfs.core.windows.net/name"
#: scheme -> what follows "://", and an example; else a bucket is what has to follow
_FORMS = {"file": (r"/[^?]", "file:///folder/name"), "abfs": _AZURE, "abfss": _AZURE}


def place_of(study: str | None) -> str:
    """The place of a study, if every node can reach it, and if it holds no password.

    Raises UsageError.
    """
    expected = (
        "expected a place that all nodes reach, such as s3://bucket/name or the absolute path of "
        "a shared folder"
    )
    if study is None:
        raise UsageError(f"--study: {expected}")
    scheme, colon, rest = study.partition("://")
    if colon and scheme not in SCHEMES:
        raise UsageError(
            f"--study: expected a folder or a URI with one of {sorted(SCHEMES)}, "
            f"found {scheme!r} in {redact(study)!r}"
        )
    if not colon and not study.startswith("/"):
        raise UsageError(f"--study: {expected}, found {study!r}, which is lost with the job")
    query = rest.partition("?")[2]
    keys = [part.partition("=")[0] for part in query.split("&")]
    if redact(study) != study.partition("?")[0] or any(map(is_secret, keys)):
        raise UsageError(
            f"--study: expected a URI without user and password, which others would see in lists "
            f"of processes and jobs, found one in {redact(study)!r}; give the nodes credentials "
            "(an instance's role, a Kubernetes secret)"
        )
    form, example = _FORMS.get(scheme, (r"[^/?]", f"{scheme}://bucket/name"))
    if colon and not re.match(form, rest):
        raise UsageError(f"--study: expected a URI such as {example}, found {redact(study)!r}")
    return redact(study)


def variables_of(texts: Sequence[str]) -> dict[str, str]:
    """The variables NAME=VALUE, or NAME as it is set here.

    Raises UsageError for what looks like a secret: Ray writes them into its logs on every node.
    """
    found = {INSECURE: "1"} if insecure() else {}
    for text in texts:
        name, equals, value = text.partition("=")
        if is_secret(name):
            raise UsageError(
                f"--env: {name} looks like a secret, and Ray writes variables of jobs into its "
                "logs; set it on the nodes instead (see docs/cluster.md)"
            )
        if not equals and name not in os.environ:
            raise UsageError(f"--env: expected NAME=VALUE, or a variable set here, found {text!r}")
        found[name] = value if equals else os.environ[name]
    return found


def check_versions(python: str, packages: Mapping[str, str]) -> None:
    """Refuse a cluster where the same file may mean something else."""
    here = {"Python": platform.python_version(), "ray": version("ray")}
    here["raysearch"] = version("raysearch")
    there = {"Python": python, "ray": packages.get("ray"), "raysearch": packages.get("raysearch")}
    differ = [name for name in here if _series(here[name]) != _series(there[name])]
    if differ:
        table = "\n".join(
            f"  {name.ljust(9)}  here {here[name]}, on the cluster {there[name] or 'missing'}"
            for name in differ
        )
        raise ClusterError(
            f"versions differ; make them the same, here or in the cluster's image:\n{table}"
        )


def _series(text: str | None) -> str:
    """Versions of one series go together: 2.60.1 with 2.60.0."""
    return ".".join((text or "").split(".")[:2])


def lacking(packages: Mapping[str, str], file: Path | None) -> list[str]:
    """The locked requirements that a cluster does not have in just that version.

    packages  name -> version there
    file      made by pip-compile with hashes; None: requirements.txt, if there is one
    """
    if file is None:
        file = Path(_REQUIREMENTS)
        if not file.is_file():
            return []
    if not file.is_file():
        raise UsageError(
            f"--requirements: there is no file {file}; pip-compile --generate-hashes makes one"
        )
    lines = file.read_text("utf-8").replace("\\\n", " ").splitlines()
    locked = [line.split("#")[0].strip() for line in lines]
    known = {_plain(name): number for name, number in packages.items()}
    found = []
    for line in filter(None, locked):
        pinned = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==([\w.+!-]+)", line)
        if pinned is None or "--hash=" not in line:
            raise UsageError(
                f"--requirements: {file}: expected every package pinned with hashes, as by "
                f"pip-compile --generate-hashes, found {line[:60]!r}"
            )
        if known.get(_plain(pinned[1])) != pinned[2]:
            found.append(" ".join(line.split()))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
