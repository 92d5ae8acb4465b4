"""Experiment files, right and wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysearch import Choice, Float, LocalSearch, Space, errors
from raysearch.cli.exits import ExperimentError
from raysearch.cli.experiment import load

PYTHON = """
from helper_of_exp import double
from raysearch import Float, Space

def objective(config):
    return double(config["x"])

space = Space({"x": Float(0, 1)})
settings = {"trials": 3, "time_limit": "1.5h"}
"""

TOML = """
objective = "train_of_exp:objective"
strategy = {name = "random"}

[space]
lr = {float = [1e-5, 1e-1], log = true}
optimizer = {choice = ["sgd", "adam"]}
momentum = {float = [0.8, 0.99], when = {optimizer = "sgd"}}

[settings]
trials = 64
metric = "accuracy"
mode = "max"
timeout = "30s"
"""


@pytest.fixture(autouse=True)
def _leave_the_interpreter_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.endswith("_of_exp"):
            del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    (folder / "helper_of_exp.py").write_text("def double(x): return 2 * x\n")
    (folder / "train_of_exp.py").write_text("def objective(config): return config['lr']\n")
    path = folder / name
    path.write_text(text)
    return path


def test_a_python_file_with_imports_beside_it(tmp_path: Path) -> None:
    experiment = load(write(tmp_path, "digits_of_exp.py", PYTHON))

    assert experiment.objective({"x": 0.5}) == 1.0
    assert experiment.objective.__module__ == "digits_of_exp"  # workers import it by this name
    assert experiment.space == Space({"x": Float(0, 1)})
    assert experiment.strategy is None
    assert experiment.settings == {"trials": 3, "time_limit": 5400.0}


def test_the_files_folder_comes_first_here_and_on_the_workers(tmp_path: Path) -> None:
    path = write(tmp_path, "digits_of_exp.py", PYTHON)

    load(path)

    # Ray hands the folder of argv[0] on to its workers if it is in sys.path
    assert sys.path[0] == str(Path(sys.argv[0]).parent) == str(tmp_path.resolve())


def test_a_toml_file_says_the_same(tmp_path: Path) -> None:
    experiment = load(write(tmp_path, "search.toml", TOML))

    assert experiment.objective({"lr": 0.5}) == 0.5
    assert experiment.space == Space(
        {
            "lr": Float(1e-5, 1e-1, log=True),
            "optimizer": Choice(["sgd", "adam"]),
            "momentum": Float(0.8, 0.99).when(optimizer="sgd"),
        }
    )
    assert type(experiment.strategy).__name__ == "RandomSearch"
    assert experiment.settings == {
        "trials": 64,
        "metric": "accuracy",
        "mode": "max",
        "timeout": 30.0,
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("log = true", "lgo = true", "search.toml: space.lr.lgo is unknown; did you mean 'log'"),
        ("trials = 64", "trails = 64", "settings.trails is unknown; did you mean 'trials'"),
        ("[settings]", "[setings]", "search.toml: setings is unknown; did you mean 'settings'"),
        ("1e-5, 1e-1", "1e-1, 1e-5", "search.toml: space.lr: .*low < high"),
        ("{float = [1e-5, 1e-1], log = true}", "3", "space.lr: expected a table .* found 3"),
        ("{float = [1e-5, 1e-1], log = true}", "{log = true}", "space.lr: .*float"),
        ('optimizer = "sgd"', 'optimiser = "sgd"', "optimiser"),
        ('name = "random"', 'name = "rondom"', "strategy: .*random"),
        ('name = "random"', 'name = "random", k = 3', "strategy: RandomSearch has no option 'k'"),
        ("train_of_exp:objective", "train_of_exp", '"module:function"'),
        ("train_of_exp:objective", "train_of_exp:objectiv", "did you mean 'objective'"),
        ("train_of_exp:objective", "trian_of_exp:objective", "No module named 'trian_of_exp'"),
        ('objective = "', '# "', "objective is missing"),
        ('"30s"', '"30 s"', "settings.timeout: expected a duration"),
        ("trials = 64", "trials 64", "line 11"),
        ("[space]", "[other]", "other is unknown"),
    ],
)
def test_mistakes_are_named_with_their_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in TOML
    path = write(tmp_path, "search.toml", TOML.replace(old, new, 1))

    with pytest.raises(ExperimentError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def objectiv(config): return 0\nspace = None", "'objective'; did you mean 'objectiv'"),
        ("def objective(config): return 0", "define 'space'"),
        (PYTHON + "settings = {'trails': 3}", "settings.*trails.*'trials'"),
        (PYTHON + "settings = 3", "expected a dict, found 3"),
        (PYTHON + "space = {}", "space: expected a mapping"),
        (PYTHON + "strategy = 'locla'", "strategy: .*did you mean 'local'"),
        (PYTHON + "strategy = 3", "strategy: expected one such as RandomSearch.*found 3"),
        (PYTHON + "strategy = {'chains': 3}", "strategy: expected a name, or a table with a name"),
        ("1 / 0", "line 1.*1 / 0\n.*ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
    ],
)
def test_mistakes_in_python_files(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "wrong_of_exp.py", text)

    with pytest.raises(ExperimentError, match=f"(?s)wrong_of_exp.py.*{message}") as caught:
        load(path)

    assert "raysearch/cli" not in str(caught.value)  # only the user's own lines


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="another module is called 'random'"):
        load(write(tmp_path, "random.py", PYTHON))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ('"local"', LocalSearch()),
        ('{"name": "local", "chains": 3}', LocalSearch(chains=3)),
        ("LocalSearch(chains=3)", LocalSearch(chains=3)),
    ],
)
def test_strategies_of_python_files(tmp_path: Path, strategy: str, expected: object) -> None:
    text = f"{PYTHON}\nfrom raysearch import LocalSearch\nstrategy = {strategy}"

    assert load(write(tmp_path, "digits_of_exp.py", text)).strategy == expected


@pytest.mark.parametrize("name", ["absent.py", "folder.py", "search.yaml"])
def test_what_is_no_experiment_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "search.yaml").write_text("")

    with pytest.raises(errors.UsageError, match="FILE: "):
        load(tmp_path / name)
