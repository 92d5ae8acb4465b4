"""What is sent to a cluster: what git would take, never a secret, and not too much."""

from __future__ import annotations

import os
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


needs_git = pytest.mark.skipif(
    shutil.which("git") is None, reason="git is what this is compared with"
)
SECRET = [
    *(".env", ".env.local", "prod.env", ".ENV", "server.pem", "tls/private.key", "id_rsa"),
    *("id_ed25519.pub", "deploy_rsa", ".ssh/config", ".aws/credentials", "auth_token", "token.txt"),
    *("gcp-credentials.json", "my-service-account.json", ".netrc", ".pypirc", "secrets.toml"),
    *(".ray/auth_token", "kubeconfig.yaml", "hf_token", ".git-credentials", "keys.kdbx"),
    *(".env-prod", ".env_local", "env.prod", "secret.json", "client_secret.json", "password.txt"),
    *("passwords.txt", "api_key.txt", "hf_token.json", "tokens.json", ".vault-token", ".boto"),
    *(".s3cfg", ".dockercfg", "terraform.tfstate", "terraform.tfstate.backup", "prod.tfvars"),
    *("client_secret_1.apps.json", "secrets/config.ini", "secrets.py.bak", "openai-api_key"),
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
    "name",
    [
        *("keyboard.py", "tokens.py", "environment.yml", "id_map.csv", "secret.py", "monkey.txt"),
        *("token.py", "secrets.py", "credentials.py", "hf_token.py", "tokens/train.bin", "env.py"),
        *("tokenizer.json", "keys.csv", "broken.txt"),
    ],
)
def test_what_only_sounds_secret_is_taken(tmp_path, name):
    fill(tmp_path, name)
    assert names(tmp_path) == {name}


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "EC "])
def test_a_private_key_is_left_out_whatever_its_name_is(tmp_path, kind):
    key = f'{{"key": "-----BEGIN {kind}PRIVATE KEY-----MII"}}'
    fill(tmp_path, "config.json", text=key)
    fill(tmp_path, "public.txt", text="-----BEGIN PUBLIC KEY-----MII")
    fill(tmp_path, "large.txt", text=key + "x" * 100_000)  # is not looked into
    packing = choose(tmp_path)
    assert set(packing.files) == {"public.txt", "large.txt"}
    assert packing.secret == ("config.json",)


@pytest.mark.parametrize("folder", [".git", ".venv", "__pycache__", "node_modules", ".mypy_cache"])
def test_caches_and_git_data_are_left_out(tmp_path, folder):
    fill(tmp_path, "a.py", f"{folder}/b", f"deep/{folder}/c")
    assert names(tmp_path) == {"a.py"}


def git_takes(root, repository=None):
    """The files of a folder that git would take, if it were a repository or part of one."""
    subprocess.run(["git", "init", "-q", str(repository or root)], check=True)
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(filter(None, listed.stdout.split("\0")))


@needs_git
@pytest.mark.parametrize(
    "rules", ["!\n*.log\n", "a.log\\\n*.log\n", "\ufeff*.log\n", "\ufeff\n*.log\n", "/\n***\n!a.py"]
)
def test_rules_that_git_passes_over_are_none_here(tmp_path, rules):
    fill(tmp_path, "a.py", "a.log", "sub/b.log")
    (tmp_path / ".gitignore").write_text(rules, "utf-8")
    assert names(tmp_path) == git_takes(tmp_path)


@needs_git
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
    taken = git_takes(root, repository)
    assert names(root) == taken


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


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}])
def test_links_that_lead_to_themselves_are_refused(tmp_path, links):
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    with pytest.raises(UsageError, match=r"/a: .*line in \.gitignore"):
        choose(tmp_path)


def test_names_that_no_archive_can_hold_are_refused(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("the disk takes no such names")
    with pytest.raises(UsageError, match=r"caf\\udce9\.txt': expected a name in UTF-8"):
        choose(tmp_path)
    (tmp_path / ".gitignore").write_text("caf*")
    assert names(tmp_path) == {".gitignore"}


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
