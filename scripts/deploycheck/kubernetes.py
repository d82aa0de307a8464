"""The manifests: valid by the published schemas, whole in themselves, and true to the program."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from scripts.deploycheck import monitoring
from scripts.deploycheck.program import DEPLOY, LINGER, PROBES, drain, refused, variables, version
from scripts.deploycheck.render import Object, load, render

K8S = DEPLOY / "k8s"
VERSIONS = ("1.30", "1.34")
"""The oldest and the newest Kubernetes that the manifests are checked against."""
SLACK = 10.0
"""Seconds that a process gets beyond its drain to close what is open."""
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
_KEDA = yaml.safe_load("""
type: object
required: [apiVersion, kind, metadata, spec]
additionalProperties: false
properties:
  apiVersion: {const: keda.sh/v1alpha1}
  kind: {const: ScaledObject}
  metadata: {type: object, required: [name]}
  spec:
    type: object
    required: [scaleTargetRef, triggers]
    additionalProperties: false
    properties:
      scaleTargetRef:
        type: object
        required: [name]
        properties: {name: {type: string}, kind: {type: string}, apiVersion: {type: string}}
        additionalProperties: false
      pollingInterval: {type: integer, minimum: 1}
      cooldownPeriod: {type: integer, minimum: 0}
      minReplicaCount: {type: integer, minimum: 1}
      maxReplicaCount: {type: integer, minimum: 1}
      fallback:
        type: object
        required: [failureThreshold, replicas]
        properties: {failureThreshold: {type: integer}, replicas: {type: integer}}
        additionalProperties: false
      advanced: {type: object}
      triggers:
        type: array
        minItems: 1
        items:
          type: object
          required: [type, metadata]
          additionalProperties: false
          properties:
            type: {enum: [prometheus, cpu]}
            name: {type: string}
            metricType: {enum: [AverageValue, Value, Utilization]}
            metadata: {type: object, additionalProperties: {type: string}}
          allOf:
            - if: {properties: {type: {const: prometheus}}}
              then: {properties: {metadata: {required: [serverAddress, query, threshold]}}, required: [name]}
            - if: {properties: {type: {const: cpu}}}
              then: {properties: {metadata: {required: [value]}}, required: [metricType]}
""")


def shapes() -> dict[str, list[Object]]:
    """What can be applied: the base with the migration, and production with it. Forms of secrets belong to both."""
    secrets, migration = load(K8S / "secrets.template.yaml"), render(K8S / "migrate")
    return {
        "base": [*render(K8S / "base"), *migration, *secrets],
        "production": [*render(K8S / "overlays" / "production"), *migration, *secrets],
    }


def valid() -> Iterator[str]:
    """Each object is what its schema says, unknown fields refused."""
    for shape, objects in shapes().items():
        for one in objects:
            for validator in _validators(one["kind"], one["apiVersion"]):
                for wrong in validator.iter_errors(one):
                    yield f"{shape}: {_called(one)}: {wrong.json_path}: {wrong.message[:300]}"


@lru_cache
def _validators(kind: str, api_version: str) -> tuple[jsonschema.Draft202012Validator, ...]:
    """The published schemas of a kind, oldest and newest; ours for KEDA, whose schemas are published nowhere."""
    if kind == "ScaledObject":
        return (jsonschema.Draft202012Validator(_KEDA),)
    group = api_version.split("/")[0].split(".")[0]
    file = f"{kind}-{api_version.replace(api_version.split('/')[0], group).replace('/', '-')}.json".lower()
    return tuple(jsonschema.Draft202012Validator(_schema(one, file), registry=_definitions(one)) for one in VERSIONS)


def _schema(kubernetes: str, file: str) -> Any:
    return schema_contents(f"kubernetes-json-schema/v{kubernetes}.0-local-strict/{file}", kubernetes)


@lru_cache
def _definitions(kubernetes: str) -> Registry[Any]:
    return Resource.from_contents(_schema(kubernetes, "_definitions.json")) @ Registry()


def whole() -> Iterator[str]:
    """Everything that an object names is there."""
    for shape, objects in shapes().items():
        for fault in (*selectors(objects), *targets(objects), *sources(objects)):
            yield f"{shape}: {fault}"


def true() -> Iterator[str]:
    """The pods agree with the program."""
    for shape, objects in shapes().items():
        images = {container["image"] for one in pods(objects) for container in one["spec"]["containers"]}
        tags = {image.rpartition(":")[2] for image in images}
        if tags != {version()}:
            yield f"{shape}: images {', '.join(sorted(images))}, but the project is {version()}"
        config = next(one["data"] for one in objects if one["kind"] == "ConfigMap")
        for name, _ in settings(objects):
            if name not in variables():
                yield f"{shape}: the program reads no {name}"
        for one in objects:
            if pod := template(one):
                for fault in (*_timing(one, pod, config), *_container(pod, config), *_restricted(pod)):
                    yield f"{shape}: {_called(one)}: {fault}"


def scaling() -> Iterator[str]:
    """Autoscalers ask for metrics that there are, and leave each Deployment to one of them."""
    for shape, objects in shapes().items():
        seen: set[str] = set()
        for one in objects:
            if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
                name = one["spec"]["scaleTargetRef"]["name"]
                if name in seen:
                    yield f"{shape}: two autoscalers pull at {name}"
                seen.add(name)
            for trigger in one["spec"].get("triggers", ()) if one["kind"] == "ScaledObject" else ():
                for unknown in sorted(monitoring.unknown(trigger["metadata"].get("query", ""))):
                    yield f"{shape}: {_called(one)}: nothing exposes {unknown}"
        for one in objects:
            if one["kind"] == "Deployment" and one["metadata"]["name"] not in seen and "replicas" not in one["spec"]:
                yield f"{shape}: {_called(one)}: neither replicas nor an autoscaler"


def _called(one: Object) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def template(one: Object) -> Object | None:
    """The pod that an object makes."""
    return one["spec"]["template"] if one["kind"] in {"Deployment", "Job"} else None


def pods(objects: Sequence[Object]) -> list[Object]:
    """Every pod template."""
    return [pod for one in objects if (pod := template(one))]


def settings(objects: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Every variable that reaches a container, with where it comes from."""
    for one in objects:
        if one["kind"] in {"ConfigMap", "Secret"}:
            for name in {**one.get("data", {}), **one.get("stringData", {})}:
                yield name, _called(one)
        for container in (template(one) or {"spec": {"containers": []}})["spec"]["containers"]:
            for variable in container.get("env", ()):
                yield variable["name"], _called(one)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes a pod with these labels."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", ())
    )


def selectors(objects: Sequence[Object]) -> Iterator[str]:
    """Selectors take the pods that they are made for."""
    labels = [pod["metadata"]["labels"] for pod in pods(objects)]
    for one in objects:
        spec = one.get("spec", {})
        if one["kind"] == "Deployment" and not matches(spec["selector"], spec["template"]["metadata"]["labels"]):
            yield f"{_called(one)}: its selector does not take its own pods"
        if one["kind"] == "Deployment":
            for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
                if not matches(spread["labelSelector"], spec["template"]["metadata"]["labels"]):
                    yield f"{_called(one)}: spreads other pods than its own"
        wanted = {
            "Service": {"matchLabels": spec.get("selector", {})},
            "PodDisruptionBudget": spec.get("selector"),
            "NetworkPolicy": spec.get("podSelector"),
        }.get(one["kind"])
        if wanted is None:
            continue
        found = [pod for pod in labels if matches(wanted, pod)]
        if not found:
            yield f"{_called(one)}: takes no pod"
        elif one["kind"] != "NetworkPolicy" and len({pod[COMPONENT] for pod in found}) != 1:
            yield f"{_called(one)}: takes pods of several roles"


def targets(objects: Sequence[Object]) -> Iterator[str]:
    """Services reach ports, ingresses services, autoscalers Deployments."""
    names = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    for one in objects:
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            for pod in pods(objects):
                if matches({"matchLabels": spec["selector"]}, pod["metadata"]["labels"]):
                    known = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
                    if not {port["targetPort"] for port in spec["ports"]} <= known:
                        yield f"{_called(one)}: its pods have no such port"
        if one["kind"] == "Ingress":
            for path in (path for rule in spec["rules"] for path in rule["http"]["paths"]):
                backend = path["backend"]["service"]
                service = names.get(("Service", backend["name"]))
                if service is None or backend["port"]["name"] not in {
                    port["name"] for port in service["spec"]["ports"]
                }:
                    yield f"{_called(one)}: leads to no service"
        if "scaleTargetRef" in spec and ("Deployment", spec["scaleTargetRef"]["name"]) not in names:
            yield f"{_called(one)}: scales nothing"


def sources(objects: Sequence[Object]) -> Iterator[str]:
    """ConfigMaps and Secrets that containers read are there, and hold what a foreign database needs."""
    names = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    for pod in pods(objects):
        found: set[str] = set()
        for container in pod["spec"]["containers"]:
            for source in container["envFrom"]:
                kind, reference = (
                    ("ConfigMap", source.get("configMapRef"))
                    if "configMapRef" in source
                    else ("Secret", source["secretRef"])
                )
                one = names.get((kind, reference["name"]))
                if one is None:
                    yield f"{container['name']}: no {kind} {reference['name']}"
                else:
                    found |= {*one.get("data", {}), *one.get("stringData", {})}
            for name in {"HUB_DATABASE_URL", "HUB_REDIS_URL", "HUB_MASTER_KEY"} - found:
                yield f"{container['name']}: {name} is not set"
    for one in objects:
        if one["kind"] == "Secret" and any(one["stringData"].values()):
            yield f"{_called(one)}: a value stands in the template"


def _timing(one: Object, pod: Object, config: Mapping[str, str]) -> Iterator[str]:
    if one["kind"] != "Deployment":
        return
    container = pod["spec"]["containers"][0]
    needed = SLACK + _pre_stop(container)
    if container["args"][1] != "beat":  # it has nothing to finish
        needed += drain(config.get("HUB_DRAIN")) + LINGER
    if pod["spec"]["terminationGracePeriodSeconds"] < needed:
        yield f"killed after {pod['spec']['terminationGracePeriodSeconds']} s, but stopping may take {needed:.0f} s"
    update = one["spec"]["strategy"]["rollingUpdate"]
    if (update["maxSurge"], update["maxUnavailable"]) != (1, 0):
        yield "a rollout takes a process away before the next one is there"


def _pre_stop(container: Object) -> float:
    command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    return float(command[1])


def _container(pod: Object, config: Mapping[str, str]) -> Iterator[str]:
    role = pod["metadata"]["labels"][COMPONENT]
    for container in pod["spec"]["containers"]:
        if why := refused(container["args"]):
            yield f"hub {' '.join(container['args'])}: {why}"
        if container["args"] not in (["run", role], [role]):
            yield f"labelled {role}, but it runs {' '.join(container['args'])}"
        if not {"cpu", "memory"} <= container["resources"]["limits"].keys() & container["resources"]["requests"].keys():
            yield "no limits"
        for port in container.get("ports", ()):
            if str(port["containerPort"]) != config["PORT"]:
                yield f"port {port['containerPort']}, but PORT is {config['PORT']}"
        if role != "migrate":
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(probe, {}).get("httpGet", {})
                if asked.get("path") not in PROBES or asked.get("port") != "http":
                    yield f"{probe} asks {asked or 'nothing'}"


def _restricted(pod: Object) -> Iterator[str]:
    """The restricted profile of the pod security standards, and a root file system that nobody writes to."""
    whole_pod = pod["spec"]["securityContext"]
    if not whole_pod.get("runAsNonRoot") or whole_pod["seccompProfile"]["type"] != "RuntimeDefault":
        yield "may run as root, or without a seccomp profile"
    if pod["spec"].get("automountServiceAccountToken") is not False:
        yield "carries a service account's token that it does not need"
    for container in pod["spec"]["containers"]:
        own = container["securityContext"]
        if (
            own["allowPrivilegeEscalation"]
            or own["capabilities"]["drop"] != ["ALL"]
            or not own["readOnlyRootFilesystem"]
        ):
            yield "not restricted"
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        if not {"/tmp", "/var/lib/hub"} <= mounted.keys():
            yield "writes to a folder that is not mounted"
        if set(mounted.values()) - {volume["name"] for volume in pod["spec"]["volumes"]}:
            yield "mounts what is not there"


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (valid, whole, true, scaling)
