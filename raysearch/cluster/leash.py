"""Runs a module of Python for as long as standard input stays open: ``leash MODULE ARGS...``

Whoever started it holds the other end. If that process dies, however it does, the module is
asked to end as by Ctrl-C's sibling, SIGTERM; a search then ends in order, and its study is free.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
