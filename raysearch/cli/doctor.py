"""``raysearch doctor``: is every byte of a study what was written?"""

from __future__ import annotations

import click

from .command import Command, json_option, study_argument
from .console import data, emit, say
from .exits import CORRUPT
