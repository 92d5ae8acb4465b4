"""Machines that only note what they were to run, and the script that checks the folders."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

NOTE = """#!{python} -ISE
import json, os, sys
ray = {{k: v for k, v in os.environ.items() if k.startswith("RAY")}}
with open({notes!r}, "a") as file:
    file.write(json.dumps([{name!r}, sys.argv[1:], ray]) + "\\n")
"""
SRUN = """
import subprocess
args = sys.argv[1:]
while args[0].startswith("--"):
    args.pop(0)
raise SystemExit(subprocess.call(args))
"""
SCONTROL = """
if sys.argv[2] == "hostnames":
    print("node1", "node2", "node3", sep="\\n")
"""
SEARCH = """
import time
while sum('"start"' in line for line in open(NOTES)) < 2:
    time.sleep(0.01)  # until the other machines have come, too
"""


class Machine:
    """A home and a PATH where `ray` and others note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bin, self.notes = folder / "home", folder / "bin", folder / "notes"
        self.home.mkdir(parents=True)
        self.bin.mkdir()
        self.notes.touch()
        self.stub("ray")

    def stub(self, name: str, then: str = "") -> None:
        """A command that notes its arguments and Ray's environment, and then does that."""
        path = self.bin / name
        path.write_text(NOTE.format(python=sys.executable, notes=str(self.notes), name=name) + then)
        path.chmod(0o755)

    def token(self, mode: int = 0o644) -> Path:
        path = self.home / ".ray/auth_token"
        path.parent.mkdir(exist_ok=True)
        path.write_text("not a real one")
        path.chmod(mode)
        return path

    def popen(self, command: str, **env: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY")}
        path = f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        whole = {**clean, "HOME": str(self.home), "PATH": path}
        whole = {**whole, "RAY_TMPDIR": str(self.home.parent / "tmp"), **env}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["bash", "-c", command], env=whole, cwd=ROOT, stderr=pipe, text=True
        )

    def run(self, command: str, **env: str) -> tuple[int, str]:
        """Exit status and standard error."""
        process = self.popen(command, **env)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def called(self, name: str) -> list[tuple[list[str], dict[str, str]]]:
        notes = map(json.loads, self.notes.read_text().splitlines())
        return [(args, env) for who, args, env in notes if who == name]

    def starts(self) -> list[tuple[list[str], dict[str, str]]]:
        """Options and environment of each `ray start`."""
        return [(args[1:], env) for args, env in self.called("ray") if args[0] == "start"]

    def sbatch(self, then: str = SEARCH) -> subprocess.Popen[str]:
        """The batch script on three machines, where SLURM runs here what it is given.

        then  what the search does, in Python
        """
        self.stub("srun", SRUN)
        self.stub("scontrol", SCONTROL)
        self.stub("raysearch", then.replace("NOTES", repr(str(self.notes))))
        project = self.home.parent / "project"  # without a .venv, whose `ray` would be a real one
        project.mkdir()
        (project / "cluster").symlink_to(ROOT / "cluster")
        return self.popen(
            "exec bash cluster/slurm/search.sbatch FILE.py --trials 200 --study runs/x",
            SLURM_SUBMIT_DIR=str(project),
            SLURM_JOB_ID=str(os.getpid()),
            SLURM_JOB_NODELIST="node[1-3]",
            SLURM_CPUS_PER_TASK="16",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture(scope="session")
def new_machine() -> Callable[[Path], Machine]:
    return Machine


@pytest.fixture(scope="session")
def validate() -> Any:
    """scripts/validate_cluster.py as a module."""
    spec = importlib.util.spec_from_file_location("validate", ROOT / "scripts/validate_cluster.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
