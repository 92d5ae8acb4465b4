"""Every exception that raysearch raises on purpose.

::

    RaysearchError
    ├── UsageError (ValueError)      an argument is wrong; nothing has been started
    │   ├── SpaceError               the search space, or a configuration for it
    │   └── ObjectiveError           the objective cannot be called or sent to workers
    ├── SearchFailed                 the first trials all failed
    ├── HypergradientError           a hypergradient would be wrong, or is
    ├── ClusterError                 Ray cannot be reached, or cannot run a trial
    │   ├── ClusterTooSmall          no machine has what a trial needs, and none will
    │   └── ClusterLost              Ray went away while the search ran; the study is safe
    └── StudyError                   a stored study cannot be used as asked
        ├── StudyNotFound            no study is there
        ├── StudyLocked              another driver is writing to it
        ├── StudyMismatch            space, strategy, metric or seed differ from the stored ones
        ├── StudyCorrupt             stored bytes are not what was written
        ├── StudyFormat              written by a newer version of raysearch
        └── StudyStorage (OSError)   the storage failed: disk full, read-only, unreachable
    Interrupted (KeyboardInterrupt)  the search was ended in order by Ctrl-C or SIGTERM

A message names the argument, says what was expected, what was found, and what to do.
"""

from __future__ import annotations

from typing import Any


class RaysearchError(Exception):
    """Base of all errors of raysearch."""


class UsageError(RaysearchError, ValueError):
    """An argument is wrong; nothing has been started."""


class SpaceError(UsageError):
    """The search space, or a configuration for it, is wrong."""


class ObjectiveError(UsageError):
    """The objective cannot be called, or cannot be sent to workers."""


class SearchFailed(RaysearchError):
    """The first trials all failed, so the search was ended."""


class HypergradientError(RaysearchError):
    """A hypergradient would be wrong, or is: which quantity, how far off, what to change."""


class ClusterError(RaysearchError):
    """Ray cannot be reached, or cannot run a trial."""


class ClusterTooSmall(ClusterError):
    """No machine of the cluster has what a trial needs, and none that has is to be expected."""


class ClusterLost(ClusterError):
    """Ray went away while the search ran; the study is safe, and the same command goes on."""


class StudyError(RaysearchError):
    """A stored study cannot be used as asked."""


class StudyNotFound(StudyError):
    """There is no study at this place."""


class StudyLocked(StudyError):
    """Another driver is writing to this study, or has taken it over."""


class StudyMismatch(StudyError):
    """Space, strategy, metric or seed differ from those stored."""


class StudyCorrupt(StudyError):
    """Stored bytes are not what was written."""


class StudyFormat(StudyError):
    """The study was written by a newer version of raysearch."""


class StudyStorage(StudyError, OSError):
    """The storage failed: disk full, read-only, unreachable."""


class Interrupted(KeyboardInterrupt):
    """The search was ended in order, by Ctrl-C or SIGTERM.

    study   what has been found so far; stored if it has a folder, and ready to go on
    signal  the number of the signal that ended it
    """

    def __init__(self, message: str, study: Any, signal: int) -> None:
        super().__init__(message)
        self.study = study
        self.signal = signal
