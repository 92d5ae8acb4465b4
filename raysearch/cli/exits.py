"""What an exit code of `raysearch` says; the one place that knows.

====  ======================================================
0     the budget is used up, or the command has done its job
1     a bug in raysearch
2     the command line, or an argument, is wrong
3     the search ended without a single valid trial
65    the study is corrupt
69    Ray cannot be reached, would let anybody in, or has not what a trial needs
73    the study is locked, or the output cannot be created
74    the storage failed
75    the cluster was lost; the same command goes on
78    the experiment file, or the format or settings of the study, do not fit
130   ended in order by Ctrl-C; the same command goes on
141   the reader of standard output went away
143   ended in order by SIGTERM, or by `stop`; the same command goes on
====  ======================================================
"""

from __future__ import annotations

from .. import errors

BUG = 1
USAGE = 2
NO_VALID_TRIAL = 3
CORRUPT = 65
CLUSTER = 69
CANNOT_CREATE = 73
PIPE_CLOSED = 141
STOPPED = 143


class ExperimentError(errors.UsageError):
    """The experiment file is wrong; the message says where."""


class OutputError(errors.RaysearchError):
    """A file that was asked for cannot be created."""


#: The first kind that fits decides.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ExperimentError, 78),
    (errors.UsageError, USAGE),
    (errors.HypergradientError, USAGE),
    (errors.SearchFailed, NO_VALID_TRIAL),
    (errors.StudyNotFound, USAGE),
    (errors.StudyCorrupt, CORRUPT),
    (errors.StudyLocked, 73),
    (errors.StudyMismatch, 78),
    (errors.StudyFormat, 78),
    (errors.ClusterLost, 75),
    (errors.ClusterError, CLUSTER),
    (OutputError, CANNOT_CREATE),
    (OSError, 74),  # StudyStorage among them
    (KeyboardInterrupt, 130),
)


def exit_code(error: BaseException) -> int:
    """The exit code for an error."""
    if isinstance(error, errors.Interrupted):
        return 128 + error.signal
    return next((code for kind, code in _CODES if isinstance(error, kind)), BUG)
