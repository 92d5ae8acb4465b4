"""``python -m raysearch.testing.faults --seeds 10000``: search among so many sets of troubles."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor

from . import play


def failure(seed: int) -> str:
    """What went wrong with a seed, and how to see it again; empty if nothing did."""
    try:
        play(seed)
    except Exception:
        return f"{traceback.format_exc()}again: scripts/faults --start {seed} --seeds 1\n"
    return ""


def main() -> int:
    """Play all seeds; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    arguments = parser.parse_args()
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    failed = 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for found in filter(None, pool.map(failure, seeds, chunksize=10)):
            failed += 1
            print(found, file=sys.stderr, flush=True)
    print(f"{len(seeds)} seeds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
