"""On the cluster: keeps a driver running until its search is over.

Entry point of a job, as ``python -m raysearch.cluster.keeper CPUS run FILE ...``: starts
`raysearch run FILE ...` inside of a Ray actor, passes on what it says, and exits with its exit
code. The actor sits on the head with 0 CPUs, and else on whichever node has them. If that node,
or the driver, is lost, another one is started: the study is durable, so it goes on from there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..engine.ray_machines import Growth, fit, leaving
from ..engine.ray_session import connect
from ..errors import ClusterError

#: exit codes after which another driver may do better: Ray has gone away from under it (it then
#: may exit with 1 at once), the study is still held by the one before, the cluster was lost
_AGAIN = (1, 73, 75)
_SOON = 60.0  # seconds; a driver that lives shorter has done nothing
_TRIES = 3  # such drivers one after the other, and no more
_PAUSE = 5.0
_QUIET = 10.0  # seconds that a driver may wait for its place before that is said
_STOPPED = 128 + signal.SIGTERM
_NO_CLUSTER = 69
_NICENESS = "RAY_worker_niceness"
_OF_THE_ACTOR = ("RAY_JOB_ID", "RAY_RAYLET_PID")  # variables that its child must not inherit


class Host:
    """The actor: one driver, as a process of its own."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._ended = False

    def hello(self) -> None:
        """It has found a place."""

    def run(self, arguments: Sequence[str]) -> Iterator[str | int]:
        """Start the driver; yields the lines that it writes, and at last its exit code."""
        context = ray.get_runtime_context()
        runtime_env = dict(context.runtime_env)
        runtime_env["env_vars"] = {
            k: v for k, v in runtime_env.get("env_vars", {}).items() if k != _NICENESS
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.leash", "raysearch.cli", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **{k: v for k, v in os.environ.items() if k not in _OF_THE_ACTOR},
                "RAY_ADDRESS": context.gcs_address,
                "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": runtime_env}),
                "PYTHONUNBUFFERED": "1",
            },
        )
        if self._ended:  # before there was one
            self._process.terminate()
        assert self._process.stdout is not None
        for line in self._process.stdout:  # noqa: UP028 (Ray sends to what it iterates)
            yield line
        yield self._process.wait()

    def end(self) -> None:
        """Have the driver end in order, also one that is yet to be started."""
        self._ended = True
        if self._process is not None:
            self._process.terminate()


class Keeper:
    """Starts drivers until one has come to an end of its own.

    cpus       that a driver needs; 0: it runs on this node
    arguments  of the command line `raysearch`
    """

    def __init__(self, cpus: float, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._cpus = cpus
        self._growth = Growth({"num_cpus": cpus})
        self._fits = not cpus  # whether a driver has had a place, or needs none
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._actor = ray.remote(Host).options(
            num_cpus=cpus,
            max_concurrency=2,
            scheduling_strategy="DEFAULT" if cpus else here,
            runtime_env={"env_vars": {_NICENESS: "0"}},  # trials give way to the driver
        )
        self._host: Any = None
        self._stopping = threading.Event()

    def run(self) -> int:
        """The exit code of the last driver."""
        short = 0
        while True:
            start = time.monotonic()
            try:
                code, why = self._drive()
            except ClusterError as error:
                _say(f"keeper: no place for the driver (--driver-cpus {self._cpus:g}): {error}")
                return _NO_CLUSTER
            short = short + 1 if time.monotonic() - start < _SOON else 0
            if self._stopping.is_set():
                return code if code is not None and code >= 0 else _STOPPED
            if code is not None and code >= 0 and code not in _AGAIN:
                return code
            if short == _TRIES:
                _say(f"keeper: {why}; given up after {_TRIES} drivers that lived for seconds")
                return 75 if code is None else code if code >= 0 else 128 - code
            _say(f"keeper: {why}; starting another driver, which goes on from the study")
            time.sleep(_PAUSE)
            if self._stopping.is_set():
                return _STOPPED

    def stop(self) -> None:
        """Have the driver end in order, and start no other."""
        self._stopping.set()
        if self._host is not None:
            self._host.end.remote()

    def _drive(self) -> tuple[int | None, str]:
        """Run one driver; returns its exit code (None: it was lost), and that in words."""
        self._host = self._actor.remote()
        if self._stopping.is_set():  # just now, when it was not there to be told
            self._host.end.remote()
        code = None
        try:
            if not self._placed(self._host):
                return None, "it was stopped before it began"
            for ref in self._host.run.options(num_returns="streaming").remote(self._arguments):
                said = ray.get(ref)
                if isinstance(said, int):
                    code = said
                else:
                    _say(said.rstrip("\n"))
        except RayTaskError:  # a bug here
            raise
        except RayError as error:
            return None, f"the driver was lost with its node or process ({type(error).__name__})"
        finally:
            host, self._host = self._host, None
            ray.kill(host)
        return code, f"the driver ended with exit code {code}"

    def _placed(self, host: Any) -> bool:
        """Wait until the actor has its place; False: there has been a stop before.

        Raises ClusterError if no node is large enough, nor to be expected; but where there has
        been one that was lost, another may be put in its place.
        """
        hello, start, told = host.hello.remote(), time.monotonic(), False
        while not ray.wait([hello], timeout=1)[0]:
            if self._stopping.is_set():
                return False
            if not self._fits:  # the actor itself waits, so a cluster that can grow does
                self._growth.follow(0, fit({"CPU": self._cpus}, leaving()))
            if not told and time.monotonic() - start > _QUIET:
                told = True
                _say("keeper: the driver waits for a node that is free")
        self._fits = True
        return True


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Keep a driver, as the command line says."""
    cpus, *arguments = sys.argv[1:]
    with connect("auto"):
        keeper = Keeper(float(cpus), arguments)
        signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
        code = keeper.run()
    sys.stdout.flush()
    os._exit(code)  # threads of Ray's core abort one in a hundred interpreters on their way out


if __name__ == "__main__":
    main()
