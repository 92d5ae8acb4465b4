"""What every folder of cluster/ promises, found out by running what its machines would run."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from raysearch.engine import ray_session

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FOLDERS = sorted(path.parent for path in CLUSTER.glob("*/README.md"))
RAY_UP = {path.parent.name: yaml.safe_load(path.read_text()) for path in CLUSTER.glob("*/*.yaml")}
RAY_UP = {name: config for name, config in RAY_UP.items() if "head_start_ray_commands" in config}
CLOUDS = {name: RAY_UP[name] for name in ("aws", "azure", "gcp")}
MANIFESTS = {
    path.name: list(yaml.safe_load_all(path.read_text()))
    for path in sorted(CLUSTER.glob("kuberay/*.yaml"))
}
COMPOSE = yaml.safe_load((CLUSTER / "docker/compose.yaml").read_text())

#: A machine that falls silent is given up after some ten seconds: measured, with these.
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
}


# --- machines that only write down what they were to run ------------------------------------------


class Start(NamedTuple):
    """One machine that starts Ray: the options, and the environment that Ray finds."""

    where: str
    head: bool
    options: list[str]
    env: Mapping[str, str]


def environment() -> dict[str, str]:
    """ray.env as docker and kubectl read it: nothing is quoted or expanded."""
    lines = (CLUSTER / "node/ray.env").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name: value for name, value in pairs}


def noted(where: str, machine: Any) -> list[Start]:
    return [Start(where, "--head" in options, options, env) for options, env in machine.starts()]


def by_ray_up(name: str, machine: Any) -> list[Start]:
    """Files laid out as `rsync -a` would, then the start commands of head and worker."""
    config = RAY_UP[name]
    machine.stub("python3")  # which would watch this machine
    for remote, local in config["file_mounts"].items():
        target = machine.home / remote.removeprefix("~/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if local == "~/.ray/auth_token":
            machine.token(0o644)  # the laptop's umask was careless
        else:
            target.symlink_to(ROOT / local)
    for kind in ("head", "worker"):
        for command in config[f"{kind}_start_ray_commands"]:
            assert machine.run(command, RAY_HEAD_IP="192.0.2.1")[0] == 0
    assert stat.S_IMODE((machine.home / ".ray/auth_token").stat().st_mode) == 0o600
    watched = [args for args, _ in machine.called("python3")]
    assert watched == ([[f"{machine.home}/node/notice", name]] if name in CLOUDS else [])
    return noted(name, machine)


def by_compose(machine: Any) -> list[Start]:
    for service in COMPOSE["services"].values():
        assert service["env_file"] == "../node/ray.env"
        assert service["environment"] == {"RAY_AUTH_TOKEN_PATH": "/run/secrets/token"}
        assert service["secrets"] == ["token"]
        command = service["command"].replace("/node/", f"{CLUSTER}/node/")
        token = str(machine.token(0o600))
        machine.run(command, **environment(), RAY_AUTH_TOKEN_PATH=token)
    return noted("docker", machine)


def by_slurm(machine: Any) -> list[Start]:
    assert machine.sbatch().wait(60) == 0
    return noted("slurm", machine)


def by_hand(machine: Any) -> list[Start]:
    """The lines of the documents that start a machine."""
    machine.token()
    for path in (CLUSTER / "README.md", CLUSTER / "laptop/README.md"):
        for command in re.findall(r"^\$ (cluster/node/start .*)$", path.read_text(), re.M):
            machine.run(command)
    return noted("by hand", machine)


def by_kuberay(_: Any) -> list[Start]:
    """What the operator makes of the manifests."""
    starts = []
    for name, spec in clusters().items():
        for group in groups(spec):
            options = [f"--{option}={value}" for option, value in group["rayStartParams"].items()]
            (container,) = group["template"]["spec"]["containers"]
            assert container["envFrom"] == [{"configMapRef": {"name": "raysearch-ray"}}]
            mode = {"RAY_AUTH_MODE": spec["authOptions"]["mode"]}
            head = group is spec["headGroupSpec"]
            starts.append(Start(name, head, options, environment() | mode))
    return starts


def clusters() -> dict[str, Any]:
    (cluster,), (job,) = MANIFESTS["raycluster.yaml"], MANIFESTS["rayjob.yaml"]
    return {"RayCluster": cluster["spec"], "RayJob": job["spec"]["rayClusterSpec"]}


def groups(spec: Any) -> list[Any]:
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


@pytest.fixture(scope="module")
def starts(tmp_path_factory, new_machine) -> list[Start]:
    """Every machine that any of the folders starts."""
    kinds: dict[str, Any] = {
        **{name: lambda machine, name=name: by_ray_up(name, machine) for name in RAY_UP},
        **{"docker": by_compose, "slurm": by_slurm, "laptop": by_hand, "kuberay": by_kuberay},
    }
    assert set(kinds) == {folder.name for folder in FOLDERS}
    found = []
    for kind, by in kinds.items():
        some = by(new_machine(tmp_path_factory.mktemp(kind) / "machine"))
        assert {start.head for start in some} == {True, False}, kind
        found += some
    return found


# --- promises, one a test -------------------------------------------------------------------------


def test_every_machine_asks_for_a_token(starts):
    for start in starts:
        assert start.env["RAY_AUTH_MODE"] == "token", start
        assert "RAY_AUTH_TOKEN" not in start.env, start


def test_workers_look_for_their_head(starts):
    for start in starts:
        found = [o.removeprefix("--address=") for o in start.options if o.startswith("--address=")]
        if start.head or start.where in clusters():  # the operator says where
            assert not found, start
        else:
            assert re.fullmatch(r"(192\.0\.2\.1|head|HEAD|node1):\d+", *found), start


def test_without_a_token_nothing_is_started(machine):
    code, errors = machine.run("cluster/node/start head")
    assert code == 78
    assert f"expected the cluster's token in {machine.home}/.ray/auth_token" in errors
    machine.token().write_text("")
    assert machine.run("cluster/node/start worker 192.0.2.1:6379")[0] == 78
    assert not machine.called("ray")


def test_others_cannot_read_the_token(machine):
    token = machine.token(0o644)
    assert machine.run("cluster/node/start head")[0] == 0
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["head", "worker 192.0.2.1:6379"])
def test_others_cannot_enter_the_folder_of_ray(machine, tmp_path, kind):
    machine.token()
    folder = tmp_path / "own"
    assert machine.run(f"umask 0; cluster/node/start {kind}", RAY_TMPDIR=str(folder))[0] == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ((options, env),) = machine.starts()
    assert f"--temp-dir={folder}/ray" in options
    assert env["RAY_TMPDIR"] == str(folder)


@pytest.mark.parametrize("how", ["open", "link", "file"])
def test_a_folder_that_others_have_made_is_refused(machine, tmp_path, how):
    machine.token()
    folder, other = tmp_path / "own", tmp_path / "other"
    other.mkdir(mode=0o700)
    if how == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif how == "link":
        folder.symlink_to(other)
    else:
        folder.write_text("")
    code, errors = machine.run("cluster/node/start head", RAY_TMPDIR=str(folder))
    assert code == 78
    assert f"expected RAY_TMPDIR, {folder}, as this user's folder with mode 0700" in errors
    assert not machine.called("ray")


def test_the_folder_of_ray_has_a_short_path():
    """What Ray adds for its sockets, with the largest numbers that can be, fits into 107 bytes."""
    (own,) = re.findall(r"RAY_TMPDIR:-(.+?)\}", (CLUSTER / "node/start").read_text())
    session = "session_2026-11-25_10-44-00_587945_4194304"
    path = own.replace("$(id -u)", "4294967295") + f"/ray/{session}/sockets/plasma_store.10"
    assert len(path) <= 107


@pytest.mark.parametrize("config", RAY_UP.values(), ids=RAY_UP)
def test_the_token_is_copied_to_every_machine(config):
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_containers_find_the_token_in_a_file():
    assert COMPOSE["secrets"] == {"token": {"file": "${HOME}/.ray/auth_token"}}


@pytest.mark.parametrize(
    "path",
    [p for p in CLUSTER.rglob("*") if p.is_file()],
    ids=lambda p: str(p.relative_to(CLUSTER)),
)
def test_no_file_holds_a_secret(path):
    for line in path.read_text().splitlines():
        assert not re.search(r"\b[0-9a-fA-F]{32,}\b|AKIA\w{16}|PRIVATE KEY", line), line
        said = re.search(
            r"(auth_token|password|secret_?key)\b['\"]?\s*[:=]\s*(?![~$])\S", line, re.I
        )
        assert said is None, line


def test_dashboards_listen_where_nobody_outside_is(starts):
    for start in starts:
        hosts = [o.split("=")[1] for o in start.options if o.startswith("--dashboard-host=")]
        if start.where in clusters():  # within the pod network: see the next tests
            assert hosts == (["0.0.0.0"] if start.head else [])
        else:
            assert hosts == (["127.0.0.1"] if start.head else []), start


def test_no_port_is_open_to_everybody():
    for path in CLUSTER.rglob("*"):
        if path.is_file():
            assert not re.search(
                r"0\.0\.0\.0/0|::/0|NodePort|LoadBalancer\b(?!, and)|hostNetwork"
                r"|hostPort|kind: Ingress|enableIngress",
                path.read_text(),
            ), path
    for service in COMPOSE["services"].values():
        assert not {"ports", "expose", "network_mode"} & set(service)
    for spec in clusters().values():
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_clouds_use_networks_that_are_closed():
    for node in RAY_UP["aws"]["available_node_types"].values():
        assert node["node_config"]["SecurityGroupIds"]  # else Ray opens ssh to the world
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    for node in RAY_UP["gcp"]["available_node_types"].values():
        (interface,) = node["node_config"]["networkInterfaces"]
        assert interface["subnetwork"].endswith("/raysearch")  # not the open default network
    assert RAY_UP["azure"]["provider"]["use_internal_ips"]
    assert "nsg rule update" in (CLUSTER / "azure/README.md").read_text()


def test_pods_talk_to_their_own_kind_only():
    (policy,) = MANIFESTS["network.yaml"]
    mine = {"podSelector": {"matchLabels": {"app": "raysearch"}}}
    assert policy["spec"]["podSelector"] == mine["podSelector"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    own, operator = policy["spec"]["ingress"]
    assert own == {"from": [mine]}
    assert operator["ports"] == [{"port": 8265, "protocol": "TCP"}]
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", [])}
    assert ports == {53, 443, 6443}
    for spec in clusters().values():
        for group in groups(spec):
            assert (
                group["template"]["metadata"]["labels"]
                == policy["spec"]["podSelector"]["matchLabels"]
            )


def test_silent_machines_are_found_out_at_once_everywhere(starts):
    for start in starts:
        assert {name: start.env.get(name) for name in HEALTH} == HEALTH, start


def test_every_machine_has_the_same_environment(starts):
    for start in starts:
        assert environment().items() <= start.env.items(), start


def test_clusters_and_local_starts_agree():
    assert ray_session._OWN.items() <= environment().items()


def test_nothing_is_reported_to_the_makers_of_ray(starts):
    assert {start.env["RAY_USAGE_STATS_ENABLED"] for start in starts} == {"0"}


def test_nobody_is_root():
    assert "USER ${UID}" in (CLUSTER / "docker/Dockerfile").read_text()
    for service in COMPOSE["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    bare = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    for spec in clusters().values():
        assert spec["autoscalerOptions"]["securityContext"] == bare
        for group in groups(spec):
            pod = group["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] > 0
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert [container["securityContext"] for container in pod["containers"]] == [bare]


def spot(name: str, config: Any) -> bool:
    if name == "aws":
        return config.get("InstanceMarketOptions") == {"MarketType": "spot"}
    if name == "gcp":
        return config.get("scheduling", [{}])[0].get("provisioningModel") == "SPOT"
    return config["azure_arm_parameters"].get("priority") == "Spot"


@pytest.mark.parametrize("name", CLOUDS)
def test_rented_machines_come_when_needed_and_go_when_idle(name):
    config = CLOUDS[name]
    types = dict(config["available_node_types"])
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}  # no trials, no GPU
    assert not spot(name, head["node_config"])
    assert ["GPU" in node["resources"] for node in types.values()] == [False, True]
    for node in types.values():
        assert node["min_workers"] == 0
        assert 0 < node["max_workers"] <= config["max_workers"]
        assert spot(name, node["node_config"])
    assert 0 < config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False


def test_pods_come_when_needed_and_go_when_idle():
    for spec in clusters().values():
        assert spec["enableInTreeAutoscaling"] is True
        assert spec["autoscalerOptions"]["version"] == "v2"
        assert 0 < spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 600
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
            tolerated = [t["key"] for t in group["template"]["spec"]["tolerations"]]
            assert "cloud.google.com/gke-spot" in tolerated
        _, gpu = spec["workerGroupSpecs"]
        limits = gpu["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == "1"


def test_pods_of_workers_drain_before_they_end():
    for spec in clusters().values():
        for group in spec["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            (container,) = pod["containers"]
            program, *arguments = container["lifecycle"]["preStop"]["exec"]["command"]
            assert program == "/node/notice"
            assert arguments[0] == "now"
            assert int(arguments[1]) + 30 < pod["terminationGracePeriodSeconds"]  # Ray's own 30
    assert "COPY cluster/node /node" in (CLUSTER / "docker/Dockerfile").read_text()
    assert (CLUSTER / "node/notice").stat().st_mode & 0o111 == 0o111


def test_the_image_has_what_ray_up_and_kuberay_call():
    (line,) = re.findall(r"apt-get install (.*)\\", (CLUSTER / "docker/Dockerfile").read_text())
    assert {"openssh-client", "rsync", "wget"} <= set(line.split())


def test_a_job_brings_the_cluster_that_also_stays():
    cluster, job = clusters().values()
    assert cluster == job
    (manifest,) = MANIFESTS["rayjob.yaml"]
    assert shlex.split(manifest["spec"]["entrypoint"])[:2] == ["raysearch", "run"]
    assert manifest["spec"]["shutdownAfterJobFinishes"] is True
    assert manifest["spec"]["backoffLimit"] > 0  # the study goes on where it was


def test_studies_outlive_pods():
    (volume,) = MANIFESTS["storage.yaml"]
    for spec in clusters().values():
        pod = spec["headGroupSpec"]["template"]["spec"]
        claims = [
            v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "configMap" not in v
        ]
        assert claims == [volume["metadata"]["name"]]
    assert " --study /studies/" in MANIFESTS["rayjob.yaml"][0]["spec"]["entrypoint"]


def test_versions_are_those_of_the_project():
    pinned = re.search(r"^ray==(\S+)", (ROOT / "requirements/cluster.txt").read_text(), re.M)
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert pinned is not None
    assert version is not None
    assert {spec["rayVersion"] for spec in clusters().values()} == {pinned[1]}
    images = [config["docker"]["image"] for config in CLOUDS.values()]
    images += [
        group["template"]["spec"]["containers"][0]["image"]
        for spec in clusters().values()
        for group in groups(spec)
    ]
    images += [service["image"] for service in COMPOSE["services"].values()]
    for image in images:
        tag, _, cloud = image.rpartition(":")[2].partition("-")
        assert tag == version[1]
        assert (ROOT / f"requirements/{cloud or 'cluster'}.txt").exists()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_readme_is_one_screen_and_says_it_all(folder):
    text = (folder / "README.md").read_text()
    assert len(text.splitlines()) <= 60
    assert "- Cost: " in text
    for word in ("raysearch ", "status ", "--watch", "runs/" if folder.name == "slurm" else "stop"):
        assert word in text or (folder.name == "kuberay" and word == "runs/"), word


def test_the_way_to_two_machines_is_one_screen():
    assert len((CLUSTER / "README.md").read_text().splitlines()) <= 60
