"""The Kubernetes manifests: valid by the published schemas, and in step with the image and the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "service" / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FILES = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ("1.27", "1.32", "1.37")  # the oldest and the newest that is checked, and one between


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return manifest("deployment")["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return only


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FILES)
def test_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(yaml.safe_load((FOLDER / name).read_text()), version, strict=True)


def test_the_check_finds_a_misspelt_field() -> None:
    wrong = manifest("service")
    wrong["spec"]["port"] = wrong["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_all_files_are_applied() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == FILES


def test_all_speak_of_the_same_pods(pod: dict[str, Any]) -> None:
    labels = pod["metadata"]["labels"]
    deployment = manifest("deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("disruption_budget")["spec"]["selector"]["matchLabels"] == labels
    target = manifest("autoscaler")["spec"]["scaleTargetRef"]
    assert target == {key: deployment[key] for key in ("apiVersion", "kind")} | {
        "name": deployment["metadata"]["name"]
    }
    assert "replicas" not in deployment["spec"]  # or applying it again would undo the autoscaler's number


def test_probes_ask_routes_of_the_service_at_its_port(container: dict[str, Any], settings: Settings) -> None:
    paths = set(create_app(settings).openapi()["paths"])
    (port,) = container["ports"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["PORT"] == str(port["containerPort"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
        assert container[probe]["httpGet"]["port"] == port["name"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    (service_port,) = manifest("service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]


def test_requests_in_flight_are_given_their_time(pod: dict[str, Any], container: dict[str, Any]) -> None:
    environment = {each["name"]: each["value"] for each in container["env"]}
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    drain = int(environment["AIT_SHUTDOWN_SECONDS"])
    assert pod["spec"]["terminationGracePeriodSeconds"] >= int(seconds) + drain + 5
    readiness = container["readinessProbe"]
    assert int(seconds) > readiness["periodSeconds"] * readiness["failureThreshold"]


def test_nothing_is_allowed_that_is_not_needed(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.M)
    context = pod["spec"]["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user


def test_every_setting_is_one_of_the_service(container: dict[str, Any]) -> None:
    known = {"HOST", "PORT", *(f"AIT_{name.upper()}" for name in Settings.model_fields)}
    assert {each["name"] for each in container["env"]} <= known


def test_what_is_deployed_is_the_image_without_torch(container: dict[str, Any]) -> None:
    """`kubectl apply -k` puts the tags of the kustomization in the place of those of the manifests."""
    tags = {image["name"]: image["newTag"] for image in KUSTOMIZATION["images"]}
    name, _, tag = container["image"].partition(":")
    assert (name, tag, tags[name]) == ("ait", "slim", "slim")
