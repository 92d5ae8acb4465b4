"""The working directory as an archive: what git would take, and never a secret.

Rules of .gitignore files, in the folder, below it and above it up to the repository's root,
hold as git reads them: the last rule that matches decides, deeper files before higher ones.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

LIMIT = 100  # MB, if not said otherwise
_LEAVE = "leave it out by a line in .gitignore"
_LARGEST = 5  # files that are named if there is too much

#: never taken, by their names in lower case; what makes them is there or made again
CACHES = {
    *(".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints"),
}
#: never taken, because they hold keys, passwords or tokens
SECRETS = (
    *(".env", ".env[._-]*", "*.env", ".envrc", "env.local", "env.dev*", "env.prod*", "env.stag*"),
    *(".netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd", ".boto", ".s3cfg", ".dockercfg"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_rsa", "*_ed25519", ".git-credentials"),
    *(".ssh", ".aws", ".azure", ".gcloud", ".gnupg", ".kube", ".docker", ".ray", "kubeconfig*"),
    *("*.token", "*.secret", "secrets", ".secrets*", "credentials", "*credentials*.json"),
    *("*service_account*.json", "*service-account*.json", "client_secret*.json"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json"),
)
#: nor files, but those of source, whose names end in such a word before the first dot
_WORDS = re.compile(
    r"(^|[._-])(tokens?|secrets?|passwords?|passwd|credentials?|(api|secret|private|access)_?keys?)$"
)
_SOURCE = (".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".rs", ".go")
#: nor small files with a private key in them, whatever their names are
_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_SMALL = 100_000  # bytes


@dataclass(frozen=True)
class Packing:
    """What is to be packed.

    root    the folder
    files   in it, relative, with their sizes in bytes
    secret  what is left out because it looks like a secret, relative
    """

    root: Path
    files: dict[str, int]
    secret: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(self.files.values())

    def write(self, archive: Path) -> None:
        """Write a zip file that depends on names and contents alone."""
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
            for name in sorted(self.files):
                path = self.root / name
                entry = zipfile.ZipInfo(name)  # of 1980, so that the same files give the same bytes
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
                target.writestr(entry, path.read_bytes())


def choose(root: Path, limit: float = LIMIT) -> Packing:
    """The files of a folder that a job gets.

    root   the folder
    limit  MB that they may have together

    Raises UsageError if there is too much, or a link that leads out of the folder.
    """
    files: dict[str, int] = {}
    secret: list[str] = []
    root = root.resolve()
    for path in _walk(root, root, _rules_above(root), secret):
        files[path.relative_to(root).as_posix()] = path.stat().st_size
    packing = Packing(root, files, tuple(secret))
    if packing.size > limit * 1e6:
        largest = sorted(files, key=lambda name: -files[name])[:_LARGEST]
        named = "\n".join(f"  {megabytes(files[name])}  {name}" for name in largest)
        raise UsageError(
            f"{root}: expected at most {limit:g} MB to send, found {megabytes(packing.size)}; put "
            "data where all nodes can read them, leave out what is not needed by a line in "
            f".gitignore, or raise --max-size. The largest files:\n{named}"
        )
    return packing


def megabytes(size: int) -> str:
    """A size for people.

    >>> megabytes(1_234_567), megabytes(800)
    ('1.2 MB', '0.8 kB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


Rules = tuple[tuple[Path, "GitIgnoreSpec"], ...]


def _walk(folder: Path, root: Path, rules: Rules, secret: list[str]) -> Iterator[Path]:
    rules += _rules_in(folder)
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        is_folder = path.is_dir()
        if name in CACHES or _ignored(path, is_folder, rules):
            continue
        _check_name(path)
        led_to = _resolved(path).name.lower() if path.is_symlink() else name
        if any(_sounds_secret(n, is_folder) for n in (name, led_to)):
            secret.append(path.relative_to(root).as_posix())
            continue
        if path.is_symlink():
            _check_link(path, root)
        if is_folder:
            yield from _walk(path, root, rules, secret)
        elif path.is_file():
            if _holds_key(path):
                secret.append(path.relative_to(root).as_posix())
            else:
                yield path


def _sounds_secret(name: str, is_folder: bool) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in SECRETS):
        return True
    stem = name.lstrip(".").partition(".")[0]
    return not is_folder and not name.endswith(_SOURCE) and bool(_WORDS.search(stem))


def _holds_key(file: Path) -> bool:
    try:
        return file.stat().st_size <= _SMALL and bool(_KEY.search(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"{file}: it cannot be read ({error}); {_LEAVE}") from None


def _check_name(path: Path) -> None:
    """Refuse what an archive cannot call by its name."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{str(path)!a}: expected a name in UTF-8; rename it, or {_LEAVE}"
        ) from None


def _resolved(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        raise UsageError(f"{link}: it leads to itself; remove it, or {_LEAVE}") from None


def _check_link(path: Path, root: Path) -> None:
    """Refuse what would take more than the folder: links out of it, or to folders in it."""
    target = _resolved(path)
    if not target.is_relative_to(root) or target.is_dir() or not target.exists():
        what = "a folder" if target.is_dir() else "a file"
        raise UsageError(
            f"{path}: expected no link but to a file in {root}, found one to {what}, {target}; "
            f"copy what it leads to, or {_LEAVE}"
        )


def _ignored(path: Path, is_folder: bool, rules: Rules) -> bool:
    for base, spec in reversed(rules):
        name = path.relative_to(base).as_posix() + ("/" if is_folder else "")
        decided = spec.check_file(name).include
        if decided is not None:
            return decided
    return False


def _rules_in(folder: Path) -> Rules:
    from pathspec import GitIgnoreSpec

    file = folder / ".gitignore"
    if not file.is_file():
        return ()
    lines = file.read_text("utf-8-sig", errors="replace").splitlines()
    return ((folder, GitIgnoreSpec.from_lines(filter(_means_something, lines))),)


def _means_something(line: str) -> bool:
    """Git passes over what is no pattern, such as a lone "!"."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _rules_above(root: Path) -> Rules:
    """Those of the folders above, if the root lies inside of a repository."""
    above: Rules = ()
    if (root / ".git").exists():
        return above
    for folder in root.parents:
        above = _rules_in(folder) + above
        if (folder / ".git").exists():
            return above
    return ()
