"""The command line's frame: help, errors, exit codes; without any study."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from raysearch import errors
from raysearch.cli import app
from raysearch.cli.app import COMMANDS
from raysearch.cli.command import seconds
from raysearch.cli.exits import ExperimentError, OutputError, exit_code

NAMES = [name for names in COMMANDS.values() for name in names]
HEAVY = {"numpy", "scipy", "ray", "pyarrow", "rich"}


def raysearch(*args: str, **options: object) -> Result:
    return CliRunner().invoke(app, args, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in NAMES)], ids=" ".join)
def test_help_answers_with_what_can_be_done(args: list[str]) -> None:
    result = raysearch(*args)

    assert result.exit_code == 0
    assert "Usage: raysearch" in result.output
    assert "--debug" in result.output


def test_help_and_version_import_nothing_heavy() -> None:
    source = (
        "import sys\n"
        "from raysearch.cli import app\n"
        "for args in (['--help'], ['run', '--help'], ['status', '--help'], ['--version']):\n"
        "    try: app.main(args, prog_name='raysearch')\n"
        "    except SystemExit as end: assert end.code == 0\n"
        f"print({HEAVY!r} & set(sys.modules))\n"
    )

    out = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)

    assert out.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["run", "x.py", "--trails", "3"], "--trials"),
        (["status"], "missing argument 'PATH|JOB'"),
        (["run", "x.py", "--time", "2 hours"], "expected a duration such as"),
        (["run", "x.py", "--mode", "most"], "'min', 'max'"),
        (["run", "x.txt"], "no file"),
        (["best", "x", "-k", "0"], "-k"),
        (["show", "x"], "--overhead"),
        (["show", "x", "3", "--overhead"], "--overhead"),
    ],
)
def test_a_wrong_command_line_is_exit_2_with_a_hint_on_stderr(args: list[str], hint: str) -> None:
    result = raysearch(*args)

    assert result.exit_code == 2
    assert hint in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError(), 2),
        (errors.SpaceError(), 2),
        (errors.SearchFailed(), 3),
        (errors.StudyCorrupt(), 65),
        (errors.ClusterError(), 69),
        (errors.StudyLocked(), 73),
        (OutputError(), 73),
        (errors.StudyStorage(), 74),
        (OSError(28, "no space"), 74),
        (errors.StudyMismatch(), 78),
        (errors.StudyFormat(), 78),
        (ExperimentError(), 78),
        (errors.StudyNotFound(), 2),
        (errors.Interrupted("", None, 2), 130),
        (errors.Interrupted("", None, 15), 143),
        (KeyboardInterrupt(), 130),
        (TypeError(), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_have_their_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the whole command line: whatever a command raises ends in its code."""
    from raysearch.cli.strategies import command

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(command, "callback", fail)

    result = raysearch("strategies")

    assert result.exit_code == exit_code(error) == code
    assert result.stdout == ""


def test_every_error_of_raysearch_has_a_code_of_its_kind() -> None:
    """A new error that nobody sorted in would look like a bug."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.RaysearchError)
        and kind not in (errors.RaysearchError, errors.StudyError)
    ]

    assert [kind.__name__ for kind in kinds if exit_code(kind()) == 1] == []


def test_a_bug_says_so_and_debug_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    from raysearch.cli.strategies import command

    def fail(**_: object) -> None:
        raise TypeError("boom\x1b[2J")

    monkeypatch.setattr(command, "callback", fail)

    plain, debug = raysearch("strategies"), raysearch("strategies", "--debug")

    assert "internal error: TypeError: boom\n" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "in fail" in debug.stderr
    assert raysearch("--debug", "strategies").stderr == debug.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    source = "from raysearch.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", source, "completion", "bash"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        code = process.wait()

    assert code == 141
    assert b"Error" not in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(shell: str) -> None:
    assert "_RAYSEARCH_COMPLETE" in raysearch("completion", shell).stdout


def test_strategies_are_listed_with_options_and_defaults() -> None:
    text = raysearch("strategies").stdout

    assert "random" in text
    assert "--set" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), ("2h30m", 9000), ("1d", 86400), ("0.5", 0.5)],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "2 h", "-1", "1w", "1h30", "nan", "2h-3m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)
