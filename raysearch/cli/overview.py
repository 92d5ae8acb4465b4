"""A study in a few words, for `status` and `ls`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from ..study import Study


def overview(path: str) -> dict[str, Any]:
    """What there is to know at a glance, ready for JSON.

    writer  who is writing to the study now; None: nobody, as far as can be seen
    rate    trials told per second, from the first to the last trial of the study
    """
    import pyarrow.compute as pc

    from ..log import Reader
    from ..study import Study

    reader = Reader(path)
    study = Study(reader)
    told = microseconds(study.columns("told")["told"])
    first, last = pc.min(told).as_py(), pc.max(told).as_py()
    span = (last - first).total_seconds() if last is not None else 0.0
    done = len(study)
    return {
        "path": path,
        "writer": reader.holder(),
        "trials": done,
        "counts": dict(study.counts),
        "objectives": study.objectives.to_json(),
        "require": [str(bound) for bound in study.objectives.bounds],
        "strategy": study.spec.get("strategy"),
        "seed": study.spec.get("seed"),
        "parameters": len(study.space.parameters),
        "best": _best(study),
        "first": first,
        "last": last,
        "rate": (done - 1) / span if span > 0 else None,
    }


def microseconds(times: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Times as Python has them, which knows no nanoseconds."""
    import pyarrow as pa

    return times.cast(pa.timestamp("us", "UTC"), safe=False)


def _best(study: Study) -> dict[str, Any] | None:
    try:
        best = study.best
    except UsageError:  # several objectives, or no valid trial
        return None
    return {"number": best.number, "metrics": dict(best.metrics), "config": dict(best.config)}


def lines(seen: dict[str, Any]) -> list[str]:
    """The overview for a terminal."""
    from ..report.text import duration, line, number, plural, settings

    strategy = seen["strategy"] or {}
    goal = ", ".join(f"{mode} {line(name)}" for name, mode in seen["objectives"].items())
    goal += "".join(f", {line(bound)}" for bound in seen["require"])
    found = [
        f"{line(seen['path'])}  {line(str(strategy.get('strategy', '')))}  {goal}, "
        f"{plural(seen['parameters'], 'parameter')}",
        f"{plural(seen['trials'], 'trial')}"
        + "".join(f" · {n:,} {state}" for state, n in seen["counts"].items() if n),
    ]
    if seen["best"] is not None:
        best = seen["best"]
        name = next(iter(seen["objectives"]))
        found.append(f"best {line(name)} {number(best['metrics'][name])}  #{best['number']}")
        found.append(f"     {settings(best['config'])}")
    if seen["writer"] is not None:
        found.append(f"running: {line(seen['writer'])}")
    if seen["last"] is not None:
        rate = "" if seen["rate"] is None else f" · {pace(seen['rate'])}"
        found.append(f"last result {duration(age(seen['last']))} ago{rate}")
    return found


def pace(rate: float) -> str:
    """Trials in a unit of time that gives a number people can grasp."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if rate * seconds >= 1:
            return f"{rate * seconds:,.3g} trials/{unit}"
    return f"{rate * 3600:,.3g} trials/h"


def age(moment: datetime) -> float:
    """Seconds since then."""
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


def next_step(path: str, found: bool) -> str:
    """What to type next, depending on whether there is a valid trial."""
    place = shlex.quote(path)
    overhead = f"next: raysearch show {place} --overhead"
    return f"{overhead} | raysearch best {place}" if found else overhead
