"""What ``import raysearch`` offers, and how little it brings in."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import raysearch
from raysearch.strategies import STRATEGIES


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running the code."""
    code += "\nimport sys; print('\\n'.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_is_light() -> None:
    heavy = {"ray", "pyarrow", "numpy", "scipy", "rich", "matplotlib", "pandas", "numba", "torch"}
    assert not loaded_by("import raysearch") & heavy


def test_a_space_and_a_strategy_need_neither_ray_nor_arrow() -> None:
    code = "import raysearch as rs; rs.Space({'x': rs.Float(0, 1)}); rs.RandomSearch(); rs.optim"
    assert not loaded_by(code) & {"ray", "pyarrow", "rich", "pandas", "numba", "torch"}


@pytest.mark.parametrize("command", [[], ["run"]])
def test_help_is_light(command: list[str]) -> None:
    code = f"""
import contextlib, io, sys
from raysearch.cli import main
sys.argv = {["raysearch", *command, "--help"]}
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
"""
    assert not loaded_by(code) & {"ray", "pyarrow", "numpy", "scipy", "rich"}


def test_type_checkers_see_the_public_names() -> None:
    """The imports under TYPE_CHECKING are what is imported on use."""
    tree = ast.parse(inspect.getsource(raysearch))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == raysearch._WHERE
    assert raysearch.__all__ == sorted(seen)


@pytest.mark.parametrize("name", raysearch.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(raysearch)
    assert inspect.getdoc(getattr(raysearch, name))


@pytest.mark.parametrize("first", ["from raysearch.search import retry", "raysearch.retry", ""])
def test_search_is_the_function_whatever_is_imported_first(first: str) -> None:
    """Python would make it the module of that name."""
    code = f"import raysearch\n{first}\nassert callable(raysearch.search), raysearch.search"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_registered_strategy_is_public() -> None:
    names = {where.split(":")[1] for where in STRATEGIES.values()}
    assert names <= set(raysearch.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Serch'"):
        raysearch.Serch  # noqa: B018


def test_the_version_is_the_packages() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{raysearch.__version__}"\n' in text
