"""What is sent to a cluster: what git would take, never a secret, and not too much."""

from __future__ import annotations

import shutil
import subprocess
import zipfile

import pytest

from raysearch.cluster.pack import choose
from raysearch.errors import UsageError


def fill(root, *names, text="x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(root):
    return set(choose(root).files)


SECRET = [
    *(".env", ".env.local", "prod.env", ".ENV", "server.pem", "tls/private.key", "id_rsa"),
    *("id_ed25519.pub", "deploy_rsa", ".ssh/config", ".aws/credentials", "auth_token", "token.txt"),
    *("gcp-credentials.json", "my-service-account.json", ".netrc", ".pypirc", "secrets.toml"),
    *(".ray/auth_token", "kubeconfig.yaml", "hf_token", ".git-credentials", "keys.kdbx"),
]


@pytest.mark.parametrize("name", SECRET)
def test_secrets_are_left_out_and_named(tmp_path, name):
    fill(tmp_path, "train.py", name)
    packing = choose(tmp_path)
    assert set(packing.files) == {"train.py"}
    assert name.startswith(packing.secret)
    packing.write(tmp_path / "out.zip")
    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == ["train.py"]


@pytest.mark.parametrize(
    "name", ["keyboard.py", "tokens.py", "environment.yml", "id_map.csv", "secret.py", "monkey.txt"]
)
def test_what_only_sounds_secret_is_taken(tmp_path, name):
    fill(tmp_path, name)
    assert names(tmp_path) == {name}


@pytest.mark.parametrize("folder", [".git", ".venv", "__pycache__", "node_modules", ".mypy_cache"])
def test_caches_and_git_data_are_left_out(tmp_path, folder):
    fill(tmp_path, "a.py", f"{folder}/b", f"deep/{folder}/c")
    assert names(tmp_path) == {"a.py"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is what this is compared with")
def test_the_rules_of_gitignore_are_gits(tmp_path):
    repository = tmp_path / "repository"
    root = repository / "project"
    fill(root, "a.py", "data/x.bin", "data/keep.csv", "logs/1.log", "sub/a.py", "sub/b.log")
    fill(root, "sub/keep.log", "sub/build/o.o", "build/o.o", "runs/s/log", "deep/er/file.tmp")
    fill(root, "sub/deep/ignored.txt", "ignored.txt", "a b/ü.py", "#odd.py", "out/in/x", "above.py")
    (repository / ".gitignore").write_text("above.py\n*.tmp\n")
    (root / ".gitignore").write_text(
        "*.log\n/build/\ndata/*\n!data/keep.csv\n/ignored.txt\nruns\n"
        "\\#odd.py\n\n# comment\nout/**\n"
    )
    (root / "sub/.gitignore").write_text("!keep.log\nbuild/\n/deep/*.txt\n")
    git = ["git", "-C", str(root)]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert names(root) == set(filter(None, listed.stdout.split("\0")))


def test_too_much_is_refused_with_the_largest_named(tmp_path):
    fill(tmp_path, "train.py")
    fill(tmp_path, "big.bin", text="x" * 1_500_000)
    fill(tmp_path, "data/bigger.bin", text="x" * 2_500_000)
    with pytest.raises(UsageError, match=r"at most 3 MB.*found 4.0 MB(?s:.)*2.5 MB  data/bigger"):
        choose(tmp_path, 3)
    assert choose(tmp_path, 5).size == 4_000_001


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.txt", "missing", "folder", "."])
def test_links_that_take_more_than_a_file_of_the_folder_are_refused(tmp_path, target):
    root = tmp_path / "root"
    fill(tmp_path, "outside.txt", "root/train.py", "root/folder/f")
    (root / "link").symlink_to(target)
    with pytest.raises(UsageError, match="expected no link but to a file in"):
        choose(root)
    (root / ".gitignore").write_text("link")
    assert names(root) == {"train.py", "folder/f", ".gitignore"}


def test_links_within_the_folder_are_taken_as_the_files_they_lead_to(tmp_path):
    fill(tmp_path, "a.py", text="the text")
    (tmp_path / "link.py").symlink_to("a.py")
    choose(tmp_path).write(tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("link.py") == b"the text"
        assert archive.getinfo("link.py").external_attr >> 16 == 0o644


def test_a_link_to_a_secret_has_another_name_and_is_still_left_out(tmp_path):
    fill(tmp_path, "a.py", ".env")
    (tmp_path / "settings.txt").symlink_to(".env")
    assert names(tmp_path) == {"a.py"}


def test_the_same_files_give_the_same_archive(tmp_path):
    for root in (tmp_path / "one", tmp_path / "two"):
        fill(root, "a.py", "b/c.py")
        choose(root).write(root.with_suffix(".zip"))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
