"""Jobs on a cluster: submitted, listed, followed, stopped through its job server.

What the cluster has installed is found out by a job of its own, before anything is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..engine.ray_access import token_source, use_token
from ..errors import ClusterError, UsageError
from .door import knock

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_STARTING_SECONDS = 15.0
_STOP_SECONDS = 60  # that a search has to end in order, before Ray kills it
_LOST_SECONDS = 60.0  # without an answer, after which a job is no longer followed
_MARK = "raysearch"  # in the metadata of our jobs
_INVENTORY = """
import importlib.metadata, json, os, platform
found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
line = json.dumps({"python": platform.python_version(), "packages": found})
os.write(1, ("\\n" + line + "\\n").encode())
"""
_ANSWER = '{"python"'  # begins that line; all at once, as others write into the same file


@dataclass(frozen=True)
class Job:
    """A search on a cluster.

    status     PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED
    study      where its results are stored
    file       the experiment
    start      seconds since 1970; so is `end`, if it has ended
    exit_code  of `raysearch run` there, if it has ended by itself
    message    what Ray says of its end
    """

    id: str
    status: str
    study: str
    file: str
    start: float | None
    end: float | None
    exit_code: int | None
    message: str | None


class Jobs:
    """The jobs of a cluster.

    address  "http://host:port" of the head's dashboard

    Raises ClusterError, within 15 seconds, if there is no job server that would take our jobs.
    """

    def __init__(self, address: str) -> None:
        knock(address)
        self.address = address.rstrip("/")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if token_source() is not None:
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when ray is imported
            use_token()
        self._client = _client(self.address)

    def inventory(self) -> tuple[str, dict[str, str]]:
        """Python's version on the cluster, and the version of each package there."""
        with self._talking():
            name = self._client.submit_job(
                entrypoint=shlex.join(["python", "-c", _INVENTORY.replace("\n", ";").strip(";")])
            )
            end = time.monotonic() + _STARTING_SECONDS
            while (status := str(self._client.get_job_status(name).value)) not in ENDED:
                if time.monotonic() > end:
                    self._client.stop_job(name)
                    raise ClusterError(
                        f"address: the head at {self.address} has not started a job for "
                        f"{_STARTING_SECONDS:g} s; is it out of memory (`ray status` there)?"
                    )
                time.sleep(0.2)
            log = self._client.get_job_logs(name)
            if status == "SUCCEEDED":
                self._client.delete_job(name)
        try:
            (answer,) = (line for line in log.splitlines() if line.startswith(_ANSWER))
            found = json.loads(answer)
            return found["python"], found["packages"]
        except (ValueError, KeyError):
            raise ClusterError(
                f"address: a job on the head at {self.address} could not say what is installed "
                f"there: {log.strip()[-500:]}"
            ) from None

    def submit(
        self,
        arguments: Sequence[str],
        *,
        file: str,
        study: str,
        archive: str,
        environment: Mapping[str, str],
        pip: Sequence[str] = (),
        driver_cpus: float = 0,
    ) -> str:
        """Have `raysearch run` started with these arguments, and return the job's name.

        file         the experiment, within the archive
        study        where results go, free of passwords
        archive      a zip file of the working directory
        environment  variables for driver and trials
        pip          lines of requirements to be installed before
        driver_cpus  that the driver needs, on whichever node has them; 0: it runs on the head
        """
        keeper = ["python", "-m", "raysearch.cluster.keeper", f"{driver_cpus:g}", *arguments]
        stem = "".join(c if c.isalnum() else "-" for c in os.path.basename(file).split(".")[0])
        folder = os.path.dirname(file)  # from which trials import as the driver does
        own = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)}
        own |= {"PYTHONPATH": folder} if folder else {}  # Ray adds that of the nodes
        environment = {**own, **environment}
        runtime_env: dict[str, Any] = {"working_dir": archive, "env_vars": environment}
        if pip:
            options = ["--disable-pip-version-check", "--no-deps", "--require-hashes"]
            runtime_env["pip"] = {"packages": list(pip), "pip_install_options": options}
        with self._talking():
            return str(
                self._client.submit_job(
                    entrypoint="exec " + shlex.join(keeper),
                    submission_id=f"{stem}-{secrets.token_hex(3)}",
                    runtime_env=runtime_env,
                    metadata={_MARK: "1", "file": file, "study": study},
                )
            )

    def list(self) -> list[Job]:
        """Our jobs, the latest first."""
        with self._talking():
            found = [_job(d) for d in self._client.list_jobs() if (d.metadata or {}).get(_MARK)]
        return sorted(found, key=lambda job: -(job.start or 0))

    def get(self, name: str) -> Job:
        """One of them."""
        with self._talking(name):
            return _job(self._client.get_job_info(name))

    def stop(self, name: str) -> Job:
        """Have a job end in order, and wait for that."""
        with self._talking(name):
            self._client.stop_job(name)
        end = time.monotonic() + _STOP_SECONDS + 15
        while (job := self.get(name)).status not in ENDED and time.monotonic() < end:
            time.sleep(0.3)
        return job

    def follow(self, name: str, show: Callable[[str], None]) -> Job:
        """Show what the driver says, line by line, until the job has ended."""
        lines = _Lines(show)
        heard = time.monotonic()
        while (job := self._get_or_none(name)) is None or job.status not in ENDED:
            try:
                asyncio.run(self._tail(name, lines))
                heard = time.monotonic()
            except Exception as error:  # of aiohttp's many; the job itself is not concerned
                if time.monotonic() - heard > _LOST_SECONDS:
                    raise ClusterError(
                        f"address: the head at {self.address} does not answer any more ({error}); "
                        "the job goes on if its cluster does"
                    ) from error
            time.sleep(0.3)
        with self._talking(name):
            lines.seen(self._client.get_job_logs(name))
        lines.end()
        return job

    async def _tail(self, name: str, lines: _Lines) -> None:
        lines.again()
        try:
            async for text in self._client.tail_job_logs(name):
                lines.add(text)
        finally:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # Ctrl-C, whatever has become of it below
                raise asyncio.CancelledError

    def _get_or_none(self, name: str) -> Job | None:
        try:
            return self.get(name)
        except ClusterError:
            return None

    @contextmanager
    def _talking(self, name: str | None = None) -> Iterator[None]:
        """Errors of Ray's client, as ours."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except (ClusterError, UsageError):
            raise
        except AuthenticationError as error:
            raise ClusterError(f"address: the head at {self.address}: {error}") from error
        except Exception as error:
            if name is not None and "does not exist" in str(error):
                raise UsageError(
                    f"JOB: there is no job {name!r} at {self.address}; see: raysearch jobs "
                    f"--address {self.address}"
                ) from None
            raise ClusterError(
                f"address: the head at {self.address} failed: {type(error).__name__}: {error}"
            ) from error


class _Lines:
    """Whole lines of a text that comes in pieces, and from the start after each break."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._shown = 0  # lines so far
        self._text = ""

    def again(self) -> None:
        """What comes now begins at the start."""
        self._text = ""

    def add(self, text: str) -> None:
        """Show the lines that are new in what came until now."""
        self.seen(self._text + text)

    def seen(self, text: str) -> None:
        """Show the lines that are new in the text from its start."""
        self._text = text
        for line in text.split("\n")[self._shown : -1]:
            self._say(line)

    def end(self) -> None:
        """Show what has no end of line."""
        rest = self._text.split("\n")[self._shown :]
        for line in filter(None, rest):
            self._say(line)

    def _say(self, line: str) -> None:
        self._shown += 1
        # Ray's own: how the job is set up, and its command line
        if "INFO job_manager.py" not in line and not line.startswith("Running entrypoint for job"):
            self._show(line)


def _client(address: str) -> JobSubmissionClient:
    from ray.exceptions import AuthenticationError

    try:
        import aiohttp  # noqa: F401 (the client needs it to follow jobs)
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UsageError(
            f"address: talking to clusters needs more packages ({error}): "
            "pip install 'raysearch[cluster]'"
        ) from None
    for name in ("dashboard_sdk", "job.sdk"):
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except (AuthenticationError, RuntimeError, OSError) as error:
        raise ClusterError(f"address: the head at {address}: {error}") from error


def _job(details: JobDetails) -> Job:
    metadata = details.metadata or {}
    return Job(
        details.submission_id or "",
        str(details.status.value),
        metadata.get("study", ""),
        metadata.get("file", ""),
        None if details.start_time is None else details.start_time / 1000,
        None if details.end_time is None else details.end_time / 1000,
        details.driver_exit_code,
        details.message,
    )
