"""The README's programs, and another document's, run, and print what is shown."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

import raysearch as rs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TRAINING = (ROOT / "docs" / "multi-fidelity.md").read_text("utf-8")
#: each program, with what it prints if that is shown right after it
BLOCKS = re.findall(r"^```python\n(.*?)^```(?:\n+```text\n(.*?)^```)?", README, re.M | re.S)
BLOCKS += re.findall(r"^```python\n([^`]*)^```\n+```text\n([^`]*)^```", TRAINING, re.M)


@pytest.mark.parametrize(
    ("program", "output"), BLOCKS, ids=["search", "ask-and-tell", "population", "confirm"]
)
def test_the_readme_runs(
    program: str,
    output: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # Without Ray, which is slow to start, and with one slot
    monkeypatch.setattr(rs, "search", partial(rs.search, address="inline", progress=False))
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out == output
