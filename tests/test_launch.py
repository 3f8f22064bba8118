"""The files in cluster/: each against the schema of the program that reads it, and all against this package."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from pipeline import __version__
from pipeline.cluster import Placement
from pipeline.command_line.options import Command, Options
from pipeline.command_line.parsing import parse
from pipeline.command_line.registry import COMMANDS
from pipeline.config import PRESETS

CHECKOUT = Path(__file__).parent.parent
CLUSTER = CHECKOUT / "cluster"
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
RAY_UP = ["aws", "gcp", "onpremise"]
KUBERAY = ["raycluster", "rayjob"]


def read(name):
    return yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())


def test_every_file_has_a_test():
    names = {*(f"{name}.yaml" for name in RAY_UP + KUBERAY), "slurm.sh", "Dockerfile"}
    assert {path.name for path in CLUSTER.iterdir()} == names


# -- ray up ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_accepts_the_cluster(name):
    """Its schema, after it has filled in its own defaults, as `ray up` does."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(read(name))
    validate_config(filled)
    assert filled["head_node_type"] in filled["available_node_types"]
    with pytest.raises(jsonschema.ValidationError):
        validate_config(filled | {"max_wrokers": 2})


@pytest.mark.parametrize("name", RAY_UP)
def test_a_cluster_shows_no_dashboard_and_asks_for_a_token(name):
    config = read(name)
    (head,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    for line in [head, *config["worker_start_ray_commands"]]:
        assert "ray start" not in line or "RAY_AUTH_MODE=token" in line
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "chmod 600 ~/.ray/auth_token" in commands[: [("ray start" in line) for line in commands].index(True)]
    assert all((CHECKOUT / source).exists() for source in config["file_mounts"].values() if not source.startswith("~"))


# -- KubeRay -----------------------------------------------------------------------------------------------------------


def closed(properties, required=()):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT, COUNT, TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
RESOURCES = closed({"requests": TEXTS, "limits": TEXTS})
CONTAINER = closed(
    {
        "name": TEXT,
        "image": TEXT,
        "resources": RESOURCES,
        "env": {"type": "array", "items": closed({"name": TEXT, "value": TEXT}, ["name", "value"])},
        "volumeMounts": {"type": "array", "items": closed({"name": TEXT, "mountPath": TEXT}, ["name", "mountPath"])},
    },
    ["name", "image"],
)
VOLUME = closed({"name": TEXT, "persistentVolumeClaim": closed({"claimName": TEXT}, ["claimName"])}, ["name"])
POD = closed(
    {
        "spec": closed(
            {"containers": {"type": "array", "items": CONTAINER, "minItems": 1}, "volumes": {"type": "array", "items": VOLUME}},
            ["containers"],
        )
    },
    ["spec"],
)
HEAD = closed(
    {
        "template": POD,
        "headService": {"type": "object"},
        "enableIngress": TRUTH,
        "rayStartParams": TEXTS,
        "serviceType": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    },
    ["template"],
)
WORKERS = closed(
    {
        "groupName": TEXT,
        "suspend": TRUTH,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "idleTimeoutSeconds": COUNT,
        "rayStartParams": TEXTS,
        "template": POD,
        "scaleStrategy": {"type": "object"},
        "numOfHosts": COUNT,
    },
    ["groupName", "maxReplicas", "minReplicas", "template"],
)
CLUSTER_SPEC = closed(
    {
        "suspend": TRUTH,
        "managedBy": TEXT,
        "authOptions": closed({"mode": {"enum": ["disabled", "token"]}, "secretName": TEXT}),
        "autoscalerOptions": closed(
            {
                "idleTimeoutSeconds": COUNT,
                "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
                "version": {"enum": ["v1", "v2"]},
                "resources": RESOURCES,
            }
        ),
        "enableInTreeAutoscaling": TRUTH,
        "gcsFaultToleranceOptions": {"type": "object"},
        "headGroupSpec": HEAD,
        "rayVersion": TEXT,
        "workerGroupSpecs": {"type": "array", "items": WORKERS},
    },
    ["headGroupSpec"],
)
JOB_SPEC = closed(
    {
        "activeDeadlineSeconds": COUNT,
        "backoffLimit": COUNT,
        "rayClusterSpec": CLUSTER_SPEC,
        "metadata": TEXTS,
        "entrypoint": TEXT,
        "runtimeEnvYAML": TEXT,
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        "ttlSecondsAfterFinished": COUNT,
        "shutdownAfterJobFinishes": TRUTH,
        "suspend": TRUTH,
    },
    ["entrypoint"],
)
"""What these manifests may use of KubeRay's custom resources, by its API reference (ray.io/v1)"""


def manifest_schema(kind, spec):
    metadata = closed({"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}}, ["name"])
    known = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": kind}, "metadata": metadata, "spec": spec}
    return closed(known, known)


SCHEMAS = {"raycluster": manifest_schema("RayCluster", CLUSTER_SPEC), "rayjob": manifest_schema("RayJob", JOB_SPEC)}


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberays_fields(name):
    manifest = read(name)
    jsonschema.validate(manifest, SCHEMAS[name])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest | {"spec": manifest["spec"] | {"rayVersoin": "2"}}, SCHEMAS[name])
    spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    assert spec["authOptions"] == {"mode": "token"} and spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert container["image"] == f"grad-instructor:{__version__}"
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group.get("replicas", group["minReplicas"]) <= group["maxReplicas"]


# -- Slurm and Docker --------------------------------------------------------------------------------------------------


def test_slurm_script():
    script = CLUSTER / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and script.stat().st_mode & 0o100
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert options and all(lines.index(f"#SBATCH {option}") < first_command for option in options), "sbatch reads no further"
    patterns = {
        "job-name": r"[\w-]+",
        "nodes": r"\d+",
        "ntasks-per-node": "1",
        "cpus-per-task": r"\d+",
        "mem-per-cpu": r"\d+[KMGT]",
        "time": r"(\d+-)?\d\d:\d\d:\d\d",
        "signal": r"B:TERM@\d+",
    }
    for option in options:
        name, value = option.removeprefix("--").split("=")
        assert re.fullmatch(patterns[name], value), option
    text = script.read_text()
    assert "umask 077" in text and "--include-dashboard=false" in text and "RAY_AUTH_MODE=token" in text


def test_dockerfile():
    text = re.sub(r"\\\n", " ", (CLUSTER / "Dockerfile").read_text())
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert {word for word, _ in steps} <= {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "CMD"}
    assert [word for word, _ in steps][:2] == ["ARG", "FROM"]
    copied = set()
    for sources in (shlex.split(rest)[:-1] for word, rest in steps if word == "COPY"):
        copied |= {source for source in sources if not source.startswith("--")}
    assert all((CHECKOUT / source).exists() for source in copied)
    included = SETUPTOOLS["packages"]["find"]["include"]
    packages = {path.name for path in CHECKOUT.iterdir() if f"{path.name}*" in included}
    assert all((CHECKOUT / package / "__init__.py").exists() for package in packages) and len(packages) == 3
    packages |= {"tune_configs"} & set(included)  # no code: the files of searches
    assert copied == packages | {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]}, (
        "what pip needs to install it"
    )


def test_one_ray_everywhere():
    """The images, the manifests and pyproject.toml name versions that work together."""
    (ray,) = [Requirement(line) for line in PROJECT["dependencies"] if line.startswith("ray")]
    versions = {}
    for path in CLUSTER.iterdir():
        text = path.read_text()
        found = re.findall(r"rayproject/ray:(\d[\d.]*)-py(\d)(\d+)", text)
        versions |= {(path.name, version): f"{major}.{minor}" for version, major, minor in found}
        versions |= {(path.name, version): "3.11" for version in re.findall(r"rayVersion: ([\d.]+)", text)}
    assert len(versions) >= 6 and len({version for _, version in versions}) == 1
    for (_, version), python in versions.items():
        assert Version(version) in ray.specifier
        assert Version(python) >= Version(PROJECT["requires-python"].removeprefix(">="))
    assert "rayproject/ray:latest" not in "".join(path.read_text() for path in CLUSTER.iterdir())


def test_the_commands_that_are_shown_are_ours():
    """Every `grad-instructor` line in these files is one that the program accepts."""
    lines = [line for path in CLUSTER.iterdir() for line in path.read_text().replace("\\\n# ", " ").splitlines()]
    shown = [re.search(r"grad-instructor ((?:run|instruct|sync)\b[^'#&]*)", line) for line in lines]
    commands = [match[1].replace('"$@"', "").replace("#", "").strip() for match in shown if match]
    assert len(commands) >= 5
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name in COMMANDS
        parsed = parse(Command, Command(Options(), Placement(), PRESETS["digits"]), name, arguments)
        assert parsed.placement.address and parsed.config
