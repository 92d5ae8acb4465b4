"""The study log: append-only Arrow segments that prove themselves, compacted to Parquet."""

from .doctor import Finding, check, salvage
from .memory import MemoryLog
from .reader import Reader
from .rows import Rows
from .writer import StudyLog

__all__ = ["Finding", "MemoryLog", "Reader", "Rows", "StudyLog", "check", "salvage"]
