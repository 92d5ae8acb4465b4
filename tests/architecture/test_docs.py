"""What the documents say is so: tables, links, programs; and what they must not name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from raysearch.strategies import STRATEGIES, get, summary

ROOT = Path(__file__).parents[2]
HIDDEN = {".git", ".venv", "runs"}
DOCS = sorted(p for p in ROOT.rglob("*.md") if not HIDDEN & set(p.relative_to(ROOT).parts))
TEXTS = [
    *DOCS,
    *(ROOT / "requirements").glob("*.txt"),
    *(p for p in (ROOT / "scripts").rglob("*") if p.is_file() and "__pycache__" not in p.parts),
    *(p for folder in ("raysearch", "examples", "tests") for p in (ROOT / folder).rglob("*.py")),
    *(p for p in (ROOT / "cluster").rglob("*") if p.is_file()),
    ROOT / ".ci/run",
    ROOT / "pyproject.toml",
]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.M | re.S)


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("| `")]) < 130


def test_the_readme_lists_the_registered_strategies() -> None:
    rows = [f"| `{name}` | `{get(name).__name__}` | {summary(name)} |" for name in STRATEGIES]
    table = "\n".join(["| name | class | what it does |", "|---|---|---|", *rows]) + "\n\n"
    assert table in (ROOT / "README.md").read_text("utf-8"), f"it should hold\n\n{table}"


@pytest.mark.parametrize("path", DOCS, ids=relative)
def test_python_in_documents_is_python(path: Path) -> None:
    for block in code_blocks(path, "python"):
        ast.parse(block)


@pytest.mark.parametrize("path", DOCS, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


def test_every_fault_is_shown_by_tests_that_exist() -> None:
    text = (ROOT / "docs/reliability.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", text, re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 46))
    for number, row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named or "no test of its own" in row, f"row {number} names no test"
        for file, function in named:
            source = (ROOT / "tests" / file).read_text("utf-8")
            assert f"\ndef {function}(" in source, f"row {number}: {file}::{function}"


def test_every_promise_is_shown_by_tests_that_exist() -> None:
    text = (ROOT / "docs/security.md").read_text("utf-8")
    rows = text.partition("| promise | test |\n|---|---|\n")[2].splitlines()
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, f"no test is named: {row}"
        for file, function in named:
            source = (ROOT / "tests" / file).read_text("utf-8")
            assert f"\ndef {function}(" in source, f"{file}::{function}"


#: Machines of whoever built this, and package registries, are nobody's business.
FOREIGN = re.compile(r"/(work|root|home|opt)/|\.\./shared|pypi\.org|pythonhosted|registry\.npmjs")


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_no_machine_and_no_registry_is_named(path: Path) -> None:
    if path != Path(__file__):
        text = path.read_text("utf-8", errors="replace")  # tables are not text
        if path.name == "run":  # where schemas that are not the project's may lie
            text = text.replace("../shared/kuberay", "")
        found = FOREIGN.search(text)
        assert not found, found and found.group()
