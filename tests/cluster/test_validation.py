"""The files of cluster/ are what their readers want, and mistakes in them are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"
CRDS = os.environ.get("KUBERAY_CRDS")
needs_crds = pytest.mark.skipif(CRDS is None, reason="KUBERAY_CRDS names no folder with schemas")


def test_the_files_are_valid(validate):
    assert list(validate.problems(None)) == []


@needs_crds
def test_the_manifests_fit_the_schemas_of_kuberay(validate):
    for path in CLUSTER.glob("kuberay/*.yaml"):
        assert list(validate.manifests(path, Path(CRDS or ""))) == []


@pytest.fixture
def mistaken(tmp_path):
    """A copy of a file with a mistake in it."""

    def copy(name: str, old: str, new: str) -> Path:
        text = (CLUSTER / name).read_text()
        assert old in text
        path = tmp_path / Path(name).name
        path.write_text(text.replace(old, new, 1))
        return path

    return copy


@pytest.mark.parametrize(
    ("folder", "old", "new", "said"),
    [
        ("aws", "max_workers: 20", "max_worker: 20", "max_worker"),
        ("aws", "region:", "regoin:", "regoin"),
        (
            "aws",
            "InstanceType: m7i",
            "InstanceTyp: m7i",
            'Unknown parameter in input: "InstanceTyp"',
        ),
        ("aws", "HttpTokens", "HttpToken", "Unknown parameter in MetadataOptions"),
        ("aws", "VolumeSize: 100", "VolumeSize: big", "Invalid type for parameter"),
        ("aws", "head_node_type: head", "head_node_type: haed", "head_node_type"),
        ("aws", "~/node: cluster/node", "~/node: cluster/nodes", "cluster/nodes is not there"),
        ("aws", "container_name: raysearch", "pull_before_run: true", "container"),
        ("gcp", "machineType: n2-standard-4", "machinType: n2", "machinType is none of"),
        ("gcp", "resources: {CPU: 16}", "resources: {CPU: many}", "many"),
        ("azure", "vmSize: Standard_F16s_v2", "vmSiez: F16", "vmSiez is none of"),
        ("azure", "use_internal_ips", "use_internal_ip", "use_internal_ip is none of"),
        ("on-premises", "head_ip", "head_pi", "head_ip"),
    ],
)
def test_mistakes_in_ray_up_files_are_found(validate, mistaken, folder, old, new, said):
    path = mistaken(f"{folder}/cluster.yaml", old, new)
    assert said in "\n".join(validate.ray_up(path))


@needs_crds
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("workerGroupSpecs:", "workerGroupSpec:"),
        ("image:", "imagge:"),
        ("mode: token", "mode: tokens"),
        ("idleTimeoutSeconds: 300", "idleTimeoutSeconds: soon"),
        ("runAsNonRoot", "runAsNoRoot"),
        ("claimName", "claim"),
    ],
)
@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_mistakes_in_manifests_are_found(validate, mistaken, name, old, new):
    assert list(validate.manifests(mistaken(f"kuberay/{name}", old, new), Path(CRDS or "")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("USER ${UID}", "USER root", "USER"),
        ("ARG UID=1000", "ARG UID=0", "USER"),
        ("--require-hashes ", "", "--require-hashes"),
        ("--no-cache-dir ", "", "--no-cache-dir"),
        ("--no-install-recommends ", "", "--no-install-recommends"),
        ("python:3.11-slim-bookworm", "python:latest", "version"),
        ("ENV HOME", "EXPOSE 8265\nENV HOME", "EXPOSE"),
        ("ENV HOME", "ENV RAY_AUTH_TOKEN=x HOME", "secrets"),
        ("HOME=/ray", "HOMES=/ray", "HOME is missing"),
        ("source=requirements", "source=requirement", "requirement is not there"),
    ],
)
def test_mistakes_in_the_dockerfile_are_found(validate, mistaken, old, new, said):
    assert said in "\n".join(validate.dockerfile(mistaken("docker/Dockerfile", old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("finish() {", "finish() "),  # bash
        ('cd "$SLURM_SUBMIT_DIR"', "cd $SLURM_SUBMIT_DIR"),  # shellcheck
    ],
)
def test_mistakes_in_scripts_are_found(validate, mistaken, old, new):
    assert list(validate.shell(mistaken("slurm/search.sbatch", old, new)))
