"""deploy/ is checked without an engine and without a cluster; each check is seen to find what it is there for."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.deploycheck import compose, image, kubernetes, monitoring, program
from scripts.deploycheck.__main__ import faults
from scripts.deploycheck.kubernetes import shapes
from scripts.deploycheck.render import Object, Unsupported, render

K8S = program.DEPLOY / "k8s"


def test_everything_agrees() -> None:
    assert list(faults()) == []


def container(objects: list[Object], role: str) -> Object:
    found: Object = deployment(objects, role)["spec"]["template"]["spec"]["containers"][0]
    return found


def deployment(objects: list[Object], role: str) -> Object:
    return next(one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == f"hub-{role}")


def of_kind(objects: list[Object], kind: str) -> Object:
    return next(one for one in objects if one["kind"] == kind)


def put(target: Object, *way: str, value: Any) -> None:
    for step in way[:-1]:
        target = target[step]
    target[way[-1]] = value


WRONGS: dict[str, tuple[Callable[[list[Object]], None], str]] = {
    "an unknown field": (lambda o: put(deployment(o, "beat"), "spec", "replica", value=2), "replica"),
    "another tag": (lambda o: put(container(o, "beat"), "image", value="agent-hub:0.0.9"), "images"),
    "a command that is not": (lambda o: put(container(o, "beat"), "args", value=["run", "beets"]), "beets"),
    "another role's command": (lambda o: put(container(o, "beat"), "args", value=["run", "worker"]), "labelled beat"),
    "a probe elsewhere": (
        lambda o: put(container(o, "runner"), "livenessProbe", "httpGet", "path", value="/healthz"),
        "/healthz",
    ),
    "a port nobody listens on": (lambda o: put(container(o, "runner")["ports"][0], "containerPort", value=80), "PORT"),
    "a variable nobody reads": (
        lambda o: put(of_kind(o, "ConfigMap"), "data", "HUB_LOGLEVEL", value="x"),
        "HUB_LOGLEVEL",
    ),
    "a drain longer than the grace": (
        lambda o: put(of_kind(o, "ConfigMap"), "data", "HUB_DRAIN", value="300"),
        "killed",
    ),
    "a selector beside its pods": (
        lambda o: put(of_kind(o, "Service"), "spec", "selector", value={kubernetes.COMPONENT: "gate"}),
        "takes no pod",
    ),
    "an autoscaler of nothing": (
        lambda o: put(of_kind(o, "HorizontalPodAutoscaler"), "spec", "scaleTargetRef", "name", value="hub"),
        "scales nothing",
    ),
    "a secret's value": (lambda o: put(of_kind(o, "Secret"), "stringData", "HUB_MASTER_KEY", value="k"), "a value"),
    "root": (
        lambda o: put(
            deployment(o, "beat"), "spec", "template", "spec", "securityContext", "runAsNonRoot", value=False
        ),
        "root",
    ),
    "a gap in a rollout": (
        lambda o: put(deployment(o, "runner"), "spec", "strategy", "rollingUpdate", "maxUnavailable", value=1),
        "takes a process away",
    ),
    "a metric that is not": (
        lambda o: put(of_kind(o, "ScaledObject")["spec"]["triggers"][0], "metadata", "query", value="sum(hub_turn)"),
        "hub_turn",
    ),
    "a trigger without its threshold": (
        lambda o: of_kind(o, "ScaledObject")["spec"]["triggers"][0]["metadata"].pop("threshold"),
        "threshold",
    ),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_a_wrong_manifest_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, told = WRONGS[wrong]
    objects = shapes()["production"]
    spoil(objects)
    monkeypatch.setattr(kubernetes, "shapes", lambda: {"spoiled": objects})
    found = [fault for check in kubernetes.CHECKS for fault in check()]
    assert [fault for fault in found if told in fault], found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("command: [run, beat]", "command: [run, beet]", "beet"),
        ("stop_grace_period: 160s", "stop_grace_period: 100s", "drain"),
        ("HUB_LOG_FORMAT: json", "HUB_LOGFORMAT: json", "HUB_LOGFORMAT"),
        ("${HUB_IMAGE:-agent-hub:0.1.0}", "${HUB_IMAGE_NAME:-agent-hub:0.1.0}", "HUB_IMAGE_NAME"),
        ("networks: [inside, outside]", "networks: [inside, abroad]", "abroad"),
        ("- ./Caddyfile:", "- ./Candyfile:", "Candyfile"),
        ("pg_isready -U postgres -h 127.0.0.1", "pg_isready -U postgres", "before it stays"),
        ("tmpfs: [/data]", "tmpfs: [/tmp]", "without a name"),
        ("${HTTPS_PORT:-443}:${HTTPS_PORT:-443}/udp", "${HTTPS_PORT:-443}:443/udp", "nobody listens"),
    ],
)
def test_a_wrong_compose_file_is_found(
    old: str, new: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = compose.FILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "compose.yaml").write_text(text.replace(old, new))
    monkeypatch.setattr(compose, "FILE", tmp_path / "compose.yaml")
    assert [fault for check in compose.CHECKS for fault in check() if told in fault]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("USER 10001:10001", "USER hub", "USER"),
        ("--require-hashes requirements.lock", "requirements.lock", "without hashes"),
        ("HEALTHCHECK ", "# ", "HEALTHCHECK"),
        ("COPY tenants tenants", "COPY tenants tenants\nCOPY tests tests", "leaves it out"),
        ('CMD ["run", "gateway"]', 'CMD ["serve"]', "serve"),
        ("# One image", "# syntax=docker/dockerfile:1.7\n# One image", "from a registry"),
    ],
)
def test_a_wrong_dockerfile_is_found(old: str, new: str, told: str, tmp_path: Path) -> None:
    text = image.DOCKERFILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "Dockerfile").write_text(text.replace(old, new))
    assert [fault for fault in image.dockerfile(tmp_path / "Dockerfile") if told in fault]


def test_a_rule_without_its_metric_is_found() -> None:
    assert monitoring.unknown('rate(hub_turns_total{status="hub_x"}[5m]) > hub:turn:p99_5m') == set()
    assert monitoring.unknown("sum(hub_turns) / hub:turn:p42_5m") == {"hub_turns", "hub:turn:p42_5m"}


def test_a_kustomization_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\nnamePrefix: x-\n")
    with pytest.raises(Unsupported, match="namePrefix"):
        render(tmp_path)


@pytest.mark.parametrize("folder", ["base", "overlays/production", "migrate"])
def test_ours_is_what_kubectl_builds(folder: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: our own reading of the kustomizations is not compared")
    done = subprocess.run(
        [kubectl, "kustomize", str(K8S / folder)], capture_output=True, text=True, timeout=60, check=True
    )
    theirs = {named(one): plain(one) for one in yaml.safe_load_all(done.stdout)}
    ours = {named(one): plain(one) for one in render(K8S / folder)}
    assert ours == theirs


def named(one: Object) -> tuple[str, str]:
    name = one["metadata"]["name"]
    return one["kind"], "hub" if one["kind"] == "ConfigMap" else name


def plain(one: Object) -> Any:
    """Without the hash in the ConfigMap's name, which follows its content."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: walk(item) for key, item in value.items()}
            if "configMapRef" in kept:
                kept["configMapRef"] = {"name": "hub"}
            return kept
        return [walk(item) for item in value] if isinstance(value, list) else value

    found = walk(one)
    if one["kind"] == "ConfigMap":
        found["metadata"]["name"] = "hub"
    return found


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: the alerts are not tried")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "recording.rules.yaml", "alerts.rules.yaml"),
        ("test", "rules", "alerts.test.yaml"),
    ],
    ids=["checked", "tried"],
)
def test_alerts_fire_and_resolve(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [promtool(), *arguments], cwd=monitoring.PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_proxy_takes_its_configuration(tmp_path: Path) -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed: the proxy's configuration is not read")
    given = {"HUB_PUBLIC_URL": "https://localhost", "HUB_UPSTREAM": "gateway", "HUB_UPSTREAM_PORT": "8000"}
    done = subprocess.run(
        [caddy, "validate", "--adapter", "caddyfile", "--config", str(program.DEPLOY / "Caddyfile")],
        env={**given, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
