"""The machines of a cluster: what fits on them, which are about to leave, whether more can come.

A machine that is drained (Ray's word for one that is about to be taken away) takes no task
any more, so it is not counted. Where an autoscaler looks after the cluster, it starts machines
for tasks that wait, so some are kept waiting: tasks that do nothing, rather than trials. A
trial that waits would have to be proposed before its time, and would be taken for late.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import ray

from ..errors import ClusterError, ClusterTooSmall
from .ray_session import check_alive

Request = Mapping[str, float]
T = TypeVar("T")

_SILENCE = 30.0  # seconds without an answer of the head; Ray would end this process after 60
_ASK_SECONDS = 3.0
_UNKNOWN = 10.0  # seconds after which a note without anything in it is taken for none
_CHANCE = 30.0  # seconds for an autoscaler to begin to start the first machine
_LONGEST = 900.0  # seconds for the first machine to be there, however often one has begun to start
_FIRST = 8  # slots that are asked for at least; else as many as there are, which doubles them
_ANONYMOUS = "node_"  # and the machine's id: a type that Ray makes up where nobody has declared any


def request_of(options: Mapping[str, Any]) -> Request:
    """Resource -> how much of it a task with such options takes."""
    wanted = {
        "CPU": options.get("num_cpus", 1),
        "GPU": options.get("num_gpus"),
        "memory": options.get("memory"),
        **(options.get("resources") or {}),
    }
    if options.get("accelerator_type"):
        wanted[f"accelerator_type:{options['accelerator_type']}"] = 0.001
    return {name: float(amount) for name, amount in wanted.items() if amount}


def fit(request: Request, without: Mapping[str, Any]) -> int:
    """How many such tasks run at once on the machines that are alive, some left out by id."""
    return sum(_fit_on(total, request) for id, total in _machines().items() if id not in without)


def _fit_on(total: Mapping[str, float], request: Request) -> int:
    if not request:  # takes nothing: as many as there are CPUs
        return max(1, int(total.get("CPU", 1)))
    return min(_share(name, total.get(name, 0.0), amount) for name, amount in request.items())


def _share(name: str, total: float, amount: float) -> int:
    """How often the amount is in the total; a fraction of a GPU lies on one device."""
    if name == "GPU" and amount < 1:
        return int(total) * int(1 / amount + 1e-6)
    return int(total / amount + 1e-6)


def _machines() -> dict[str, Mapping[str, float]]:
    """Id -> resources, of the machines that are alive."""
    nodes = _asked(ray.nodes)
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}


def _asked(question: Callable[[], T]) -> T:
    """What the head answers; whatever goes wrong, it is that the head does not answer.

    The question is asked from a thread of its own: if the head dies just then, Ray waits a
    minute for another one, and then ends this process.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    deadline = time.monotonic() + _SILENCE
    while not answer.done() and time.monotonic() < deadline:
        wait([answer], timeout=1)
        check_alive()
    try:
        return answer.result(timeout=0)
    except Exception as error:
        why = str(error) or f"nothing said for {_SILENCE:.0f} s"
        raise ClusterError(f"Ray does not answer any more: {why}") from error


def too_large(request: Request) -> str:
    """What is to be said where no machine can run such a task."""
    machines = list(_machines().values())
    parts = [
        f"{name}: wanted {amount:g}, the most on one machine is "
        f"{max((total.get(name, 0.0) for total in machines), default=0.0):g}"
        for name, amount in request.items()
        if all(_share(name, total.get(name, 0.0), amount) < 1 for total in machines)
    ]
    return (
        "ray_options: no machine of the cluster has what a trial needs: "
        + ("; ".join(parts) or f"{dict(request)} together on one machine")
        + "; ask for less, or add such a machine"
    )


def leaving() -> Mapping[str, int]:
    """The machines that are about to be taken away, by id."""
    from ray._private import state, worker

    if worker._global_node is None:
        return {}  # connected by Ray Client, which does not tell
    drained: Mapping[str, int] = _asked(state.state.get_draining_nodes)
    return drained


# --- clusters that grow -----------------------------------------------------------------------


def can_grow() -> Literal["no", "yes", "starts", "unknown"]:
    """Whether an autoscaler looks after the cluster, and starts machines just now.

    Of Ray's two autoscalers the older one leaves a note in the head's store, where also those
    leave one who only watch a cluster; the newer one tells the head. It is unknown for the
    first seconds of a head.
    """
    report = _autoscaler()
    if report is None:
        return "unknown"
    if report.starts:
        return "starts"
    return "yes" if any(not name.startswith(_ANONYMOUS) for name in report.types) else "no"


@dataclass(frozen=True)
class _Autoscaler:
    """What an autoscaler says of itself.

    types    of the machines that it knows of
    starts   whether machines are on their way; one that has only been asked for is not, where
             such a request has just been refused: it would be asked for again and again
    refused  why machines could not be had
    """

    types: frozenset[str] = frozenset()
    starts: bool = False
    refused: tuple[str, ...] = ()


def _autoscaler() -> _Autoscaler | None:
    """What it says; None: there is a note of its, and nothing in it so far."""
    from ray._private import worker

    if worker._global_node is None:
        return _Autoscaler()
    head = worker._global_node.gcs_address
    return _asked(lambda: _said(head))


def _said(head: str) -> _Autoscaler | None:
    from ray.experimental.internal_kv import _internal_kv_get

    if _internal_kv_get(b"__autoscaler_v2_enabled", namespace=b"__autoscaler") == b"1":
        from ray.autoscaler.v2.sdk import get_cluster_status

        status = get_cluster_status(head)
        if not int(status.stats.autoscaler_version or 0):
            return _Autoscaler()  # none has ever said anything
        nodes = [*status.active_nodes, *status.idle_nodes]
        types = frozenset(node.ray_node_type_name for node in nodes)
        refused = [f"{each.ray_node_type_name}: {each.details}" for each in status.failed_launches]
        asked, coming = status.pending_launches, status.pending_nodes
    else:
        note = _internal_kv_get(b"__autoscaling_status")
        if not note:
            return _Autoscaler()
        report = json.loads(note).get("autoscaler_report")
        if report is None:
            return None
        types = frozenset(report["active_nodes"])
        found = report["node_availability_summary"]["node_availabilities"]
        why = {name: each["unavailable_node_information"] for name, each in found.items()}
        refused = [
            f"{name}: {each['category']}, {each['description']}"
            for name, each in why.items()
            if each
        ]
        asked, coming = report["pending_launches"], report["pending_nodes"]
    return _Autoscaler(
        types, bool(coming or (asked and not refused)), tuple(dict.fromkeys(refused))
    )


class Growth:
    """Has a cluster grow towards what a search could use, where an autoscaler looks after it.

    options  of the search's tasks
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._waiting: list[Any] = []
        self.ask_for(options)
        self._next = -math.inf  # when to ask again
        self._began = time.monotonic()
        self._patience = self._began + _CHANCE  # until when there is to be a first slot

    def ask_for(self, options: Mapping[str, Any]) -> None:
        """From now on, for tasks with such options."""
        self._wait(0)
        fixed = {"max_retries": 0, "enable_task_events": False}
        # A lambda is sent whole: for a function of this module a worker would import raysearch,
        # and numpy, and a task that is cancelled just then would leave them half imported there.
        self._task = ray.remote(lambda: None).options(**{**fixed, **options})
        self._request = request_of(options)

    def follow(self, wanted: int, slots: int) -> None:
        """Where there are fewer slots than wanted, ask for more; at most twofold at a time.

        Raises ClusterTooSmall if there has never been a slot, and none is to be expected.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _ASK_SECONDS
        growing = can_grow()
        while growing == "unknown" and not slots and time.monotonic() < now + _UNKNOWN:
            time.sleep(0.2)
            growing = can_grow()
        if growing in ("yes", "starts"):
            self._wait(max(0, min(wanted - slots, max(slots, _FIRST))))
        if slots:
            self._patience = math.inf  # what has been there may come back
        elif growing == "starts":
            self._patience = min(max(self._patience, now + _CHANCE), self._began + _LONGEST)
        hopeless = growing in ("no", "unknown") and self._patience < math.inf
        if hopeless or now > self._patience:
            raise ClusterTooSmall(too_large(self._request) + self._in_vain(growing))

    def _in_vain(self, growing: str) -> str:
        """What is to be said of an autoscaler that was asked."""
        if growing in ("no", "unknown"):
            return ""
        report = _autoscaler()
        refused = "".join(f"; {why}" for why in report.refused) if report else ""
        waited = time.monotonic() - self._began
        return f"; the autoscaler has brought none in {waited:.0f} s{refused}"

    def _wait(self, n: int) -> None:
        """Have so many tasks wait that do nothing, each of which takes what a trial takes."""
        if self._waiting:
            _, self._waiting = ray.wait(self._waiting, num_returns=len(self._waiting), timeout=0)
        for ref in self._waiting[n:]:
            ray.cancel(ref)
        del self._waiting[n:]
        while len(self._waiting) < n:
            self._waiting.append(self._task.remote())

    def close(self) -> None:
        """Ask for nothing any more."""
        self._wait(0)
