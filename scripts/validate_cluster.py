#!/usr/bin/env python3
"""Checks the files below cluster/ as their readers would: Ray, Kubernetes, SLURM, Docker.

    scripts/validate_cluster.py [--crds FOLDER]

FOLDER holds the CRDs of KubeRay (ray.io_rayclusters.yaml, ray.io_rayjobs.yaml); without it
manifests are only parsed. What is wrong is printed, one line each, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "cluster"


# --- ray up -----------------------------------------------------------------------------------

# Ray's own schema takes any key in `provider` and `node_config`, so that a typing error there
# shows when the machines are paid for. These are the keys that Ray 2.60 and the clouds read.
PROVIDER = {
    "local": "type head_ip worker_ips external_head_ip coordinator_address",
    "aws": "type region availability_zone cache_stopped_nodes use_internal_ips security_group "
    "key_pair aws_credentials cloudwatch",
    "gcp": "type region availability_zone project_id cache_stopped_nodes use_internal_ips "
    "gcp_credentials",
    "azure": "type location resource_group subscription_id subnet_mask unique_id tags msi_name "
    "msi_resource_group availability_zone cache_stopped_nodes use_internal_ips "
    "use_external_head_ip",
}
NODE = {
    "local": "",
    "gcp": "machineType disks networkInterfaces scheduling metadata labels tags serviceAccounts "
    "guestAccelerators shieldedInstanceConfig minCpuPlatform confidentialInstanceConfig",
    "azure": "azure_arm_parameters tags",
}


def ray_up(path: Path) -> Iterator[str]:
    """What Ray, and the cloud, would not understand."""
    from ray.autoscaler._private import util

    try:
        config = yaml.safe_load(path.read_text("utf-8"))
        util.validate_config(util.prepare_config(deepcopy(config)))
    except Exception as error:
        yield str(error).splitlines()[0]
        return
    kind = config["provider"]["type"]
    yield from _unknown("provider", config["provider"], PROVIDER[kind].split())
    for name, node in config.get("available_node_types", {}).items():
        where = f"available_node_types.{name}.node_config"
        if kind == "aws":
            yield from _run_instances(where, node["node_config"])
        else:
            yield from _unknown(where, node["node_config"], NODE[kind].split())
        if kind == "azure":
            where += ".azure_arm_parameters"
            found = node["node_config"]["azure_arm_parameters"]
            yield from _unknown(where, found, [*_arm_parameters(), "availability_zone"])
    for local in config["file_mounts"].values():
        if not local.startswith("~") and not (ROOT / local).exists():
            yield f"file_mounts: {local} is not there"


def _run_instances(where: str, found: dict[str, Any]) -> Iterator[str]:
    """What Amazon's own library would refuse to send."""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate({**found, "MinCount": 1, "MaxCount": 1}, _ec2())
    yield from (f"{where}: {line}" for line in report.generate_report().splitlines())


@cache
def _ec2() -> Any:
    from botocore.session import get_session

    return get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def _arm_parameters() -> list[str]:
    """What Ray's template for machines on Azure takes."""
    from ray.autoscaler import _private

    template = Path(_private.__path__[0]) / "_azure/azure-vm-template.json"
    return list(json.loads(template.read_text("utf-8"))["parameters"])


def _unknown(where: str, found: dict[str, Any], known: list[str]) -> Iterator[str]:
    for key in found:
        if key not in known:
            yield f"{where}: {key} is none of {', '.join(known) or 'no keys'}"


# --- KubeRay ----------------------------------------------------------------------------------


def manifests(path: Path, crds: Path | None) -> Iterator[str]:
    """What KubeRay's schemas do not allow."""
    for manifest in yaml.safe_load_all(path.read_text("utf-8")):
        if missing := {"apiVersion", "kind", "metadata", "spec"} - set(manifest):
            yield f"{', '.join(sorted(missing))} missing"
        elif crds is not None and manifest["apiVersion"].startswith("ray.io/"):
            schema = _schema(crds, manifest["kind"], manifest["apiVersion"].split("/")[1])
            validator = jsonschema.Draft202012Validator(schema)
            for error in validator.iter_errors(manifest):
                yield f"{error.json_path}: {error.message[:200]}"


@cache
def _schema(crds: Path, kind: str, version: str) -> Any:
    text = (crds / f"ray.io_{kind.lower()}s.yaml").read_text("utf-8")
    crd = yaml.load(text, yaml.CSafeLoader)  # a megabyte: half a minute in Python
    for candidate in crd["spec"]["versions"]:
        if candidate["name"] == version:
            return _closed(candidate["schema"]["openAPIV3Schema"])
    raise ValueError(f"{crds}: no version {version} of {kind}")


def _closed(schema: Any) -> Any:
    """Kubernetes drops fields it does not know; here they are errors. Ports may be names."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", not schema["properties"])
        if "metadata" in schema["properties"] and "kind" in schema["properties"]:
            closed["properties"]["metadata"] = {"type": "object"}
    return closed


# --- scripts and images -----------------------------------------------------------------------


def shell(path: Path) -> Iterator[str]:
    """What bash, and shellcheck where it is installed, complain of."""
    yield from _complaints("bash", "-n", str(path))
    beside = Path(sys.executable).with_name("shellcheck")
    if found := shutil.which(beside) or shutil.which("shellcheck"):
        options = ("--external-sources", "--exclude=SC2016,SC2329", "--format=gcc")
        yield from _complaints(found, *options, str(path))


def _complaints(*command: str) -> list[str]:
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return (run.stdout + run.stderr).splitlines() if run.returncode else []


def dockerfile(path: Path) -> Iterator[str]:
    """What makes an image large, loose or unsafe."""
    text = re.sub(r"\\\n", " ", path.read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    arguments = dict(
        line[4:].split("=") for line in lines if line.startswith("ARG ") and "=" in line
    )
    said = [
        (word, re.sub(r"\$\{(\w+)\}", lambda m: arguments.get(m[1], m[0]), rest))
        for word, _, rest in (line.partition(" ") for line in lines)
    ]
    for word, rest in said:
        if word == "FROM" and not re.search(r":\d[\w.-]*(@sha256:\w{64})?( AS \w+)?$", rest):
            yield f"FROM {rest}: expected a version"
        if word in {"ADD", "EXPOSE"}:
            yield f"{word} {rest}: files are copied or mounted, ports stay closed"
        if word in {"ENV", "ARG"} and re.search(r"token|secret|password|key", rest, re.I):
            yield f"{word} {rest}: secrets stay out of images"
        if "pip install" in rest and not ("--require-hashes" in rest or "--no-deps" in rest):
            yield f"{rest}: expected --require-hashes, or --no-deps"
        if "pip install" in rest and "--no-cache-dir" not in rest:
            yield f"{rest}: expected --no-cache-dir"
        if "apt-get install" in rest and not (
            "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists/*" in rest
        ):
            yield f"{rest}: expected --no-install-recommends, and the lists removed"
        for source in re.findall(r"source=([\w/.-]+)", rest):
            if not (ROOT / source).exists():
                yield f"{source} is not there"
    users = [rest for word, rest in said if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*", users[-1]):
        yield "USER: expected a number other than 0 at the end"
    if not any(word == "ENV" and "HOME=" in rest for word, rest in said):
        yield "ENV: HOME is missing, and `ray up` takes it for /root then"


def problems(crds: Path | None) -> Iterator[str]:
    """All that is wrong, with the file that it is in."""
    checks = [
        *((path, ray_up(path)) for path in CLUSTER.glob("*/cluster.yaml")),
        *((path, manifests(path, crds)) for path in CLUSTER.glob("kuberay/*.yaml")),
        *(
            (path, shell(path))
            for path in (CLUSTER / "node/start", *CLUSTER.glob("slurm/*.sbatch"))
        ),
        *((path, dockerfile(path)) for path in CLUSTER.glob("docker/Dockerfile")),
    ]
    for path, found in checks:
        yield from (f"{path.relative_to(ROOT)}: {problem}" for problem in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crds", type=Path)
    wrong = list(problems(parser.parse_args().crds))
    print("\n".join(wrong) or "cluster/: nothing wrong")
    sys.exit(bool(wrong))
