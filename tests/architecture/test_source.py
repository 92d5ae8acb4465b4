"""What the source may import, call and weigh."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "raysearch").rglob("*.py"))
SCRIPTS = sorted(p for p in [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"] if p.is_file())

#: Each line imports only from itself and from lines above it.
LAYERS = (
    "errors scalars secret rng trial space slopes",
    "optim",
    "hypergrad",
    "models",
    "strategies",
    "asktell",
    "engine",
    "log finished study",
    "report",
    "arguments choosing stopping evolve repeats reruns monitor resume session search replay",
    "simulate",
    "cluster",
    "testing cli integrations",
)
LINE = {name: i for i, names in enumerate(LAYERS) for name in names.split()}

#: Beside numpy and scipy: who may import what else, by the start of the file's path.
THIRD_PARTY = {
    "ray": ("engine/ray_", "cluster/"),
    "grpc": ("engine/ray_access.py",),
    "pathspec": ("cluster/pack.py",),
    "aiohttp": ("cluster/jobs.py",),
    "pyarrow": (
        "log/",
        "study.py",
        "resume.py",
        "search.py",
        "reruns.py",
        "simulate/",
        "report/",
        "cli/",
        "testing/faults/",
    ),
    "rich": ("report/", "cli/"),
    "click": ("cli/",),
    "matplotlib": ("cli/picture.py",),
    "hypothesis": ("testing/",),
    "pytest": ("testing/",),
    "llvmlite": ("optim/",),
    "threadpoolctl": ("models/threads.py",),
    "torch": ("optim/", "hypergrad/"),
    "jax": ("hypergrad/",),
    "autograd": ("hypergrad/",),
    "array_api_compat": ("optim/",),
}
FREE = {"numpy", "scipy", "raysearch", "__future__"}


def inside(path: Path) -> str:
    """The path within the package, as texts of it are compared."""
    return path.relative_to(ROOT / "raysearch").as_posix()


def modules(path: Path, *, top: bool = False) -> Iterator[str]:
    """The modules that a file imports, in full; `top`: when it is imported itself."""
    tree = ast.parse(path.read_text("utf-8"))
    package = ("raysearch", *path.relative_to(ROOT / "raysearch").parent.parts)
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                here = ROOT / Path(*module.split("."), alias.name)
                submodule = here.is_dir() or here.with_suffix(".py").is_file()
                yield f"{module}.{alias.name}" if submodule else module


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_imports_stay_in_their_layer(path: Path) -> None:
    name = inside(path).split("/")[0].removesuffix(".py")
    if name == "__init__":
        return  # lists the public names of all layers, and imports them on use
    for module in modules(path):
        if module.startswith("raysearch."):
            other = module.split(".")[1]
            assert LINE[other] <= LINE[name], f"{name} is below {other} and may not import it"


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_third_parties_are_imported_only_where_they_belong(path: Path) -> None:
    import sys

    for module in modules(path):
        top = module.split(".")[0]
        if top not in FREE and top not in sys.stdlib_module_names:
            assert top in THIRD_PARTY, f"{top}: not among the dependencies"
            assert inside(path).startswith(THIRD_PARTY[top]), f"only {THIRD_PARTY[top]} use {top}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    def name(path: Path) -> str:
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        return dotted.removesuffix(".__init__")

    known = {name(path) for path in FILES}
    graph = {name(p): known.intersection(modules(p, top=True)) - {name(p)} for p in FILES}
    # A package's __init__ gathers the modules in it, which do not import it back.
    TopologicalSorter(graph).prepare()


MODULES_NEVER = {"pickle", "cPickle", "cloudpickle", "marshal", "shelve", "dill", "yaml"}
CALLS_NEVER = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_nothing_stored_can_run_as_code(path: Path) -> None:
    imported = {module.split(".")[0] for module in modules(path)}
    assert not imported & MODULES_NEVER
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                assert node.func.id not in CALLS_NEVER, f"line {node.lineno}"
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            assert not given.get("shell"), f"line {node.lineno}"
            assert not given.get("allow_pickle"), f"line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_randomness_comes_from_seeds_alone(path: Path) -> None:
    """Ruff forbids draws from numpy's global generator; this, from Python's."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            draws = node.value.id == "random" and node.attr not in {"seed", "getstate", "setstate"}
            assert not draws, f"line {node.lineno}: draw from raysearch.rng"


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stay_tiny(path: Path) -> None:
    if not path.suffix:  # Python programs beside them have a suffix
        assert len(path.read_text("utf-8").splitlines()) < 20
        assert path.stat().st_mode & 0o111, "not executable"
