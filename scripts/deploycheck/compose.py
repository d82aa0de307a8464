"""The compose file: variables, commands, references, grace."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from scripts.deploycheck.program import DEPLOY, LINGER, drain, refused, variables, version

FILE = DEPLOY / "compose.yaml"
EXAMPLE = DEPLOY / ".env.example"
ROLES = ("gateway", "runner", "worker", "beat")
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def example(path: Path = EXAMPLE) -> dict[str, str]:
    """The variables of the example, as its file gives them."""
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if line[:1].isalpha())
    return {name: value for name, _, value in lines}


def interpolated(value: Any, given: Mapping[str, str]) -> Any:
    """The document with ${NAME}, ${NAME:-default} and ${NAME:?message} replaced. Raises KeyError for a missing one."""
    if isinstance(value, dict):
        return {key: interpolated(item, given) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, given) for item in value]
    return _VARIABLE.sub(lambda found: _one(found, given), value) if isinstance(value, str) else value


def _one(found: "re.Match[str]", given: Mapping[str, str]) -> str:
    name, kind, text = found.groups()
    if given.get(name):
        return given[name]
    if kind == "-":
        return str(text)
    raise KeyError(name)


def document(given: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with these variables."""
    return dict(interpolated(yaml.safe_load(FILE.read_text(encoding="utf-8")), given))


def filled() -> dict[str, str]:
    """The example with something in every empty place."""
    return {name: value or "x" for name, value in example().items()}


def variables_agree() -> Iterator[str]:
    """The example names what the file uses, and the program reads what the file sets."""
    used = {found[0] for found in _VARIABLE.findall(FILE.read_text(encoding="utf-8"))}
    for name in sorted(used - example().keys()):
        yield f".env.example: {name} is missing"
    for name in sorted(example().keys() - used):
        yield f".env.example: compose.yaml uses no {name}"
    for name, service in _ours():
        for key in sorted(service["environment"].keys() - variables()):
            yield f"compose.yaml: {name}: the program reads no {key}"


def _ours() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, service in document(filled())["services"].items():
        if str(service["image"]).startswith("agent-hub:"):
            yield name, service


def services() -> Iterator[str]:
    """Each service of ours can be started, drained and healed."""
    names = {name for name, _ in _ours()}
    for missing in {*ROLES, "migrate", "init"} - names:
        yield f"compose.yaml: no service {missing}"
    for name, service in _ours():
        if service["image"] != f"agent-hub:{version()}":
            yield f"compose.yaml: {name}: {service['image']}, but the project is {version()}"
        if why := refused(service["command"]):
            yield f"compose.yaml: {name}: hub {' '.join(service['command'])}: {why}"
        if name in ROLES and service["command"] != ["run", name]:
            yield f"compose.yaml: {name} runs {service['command']}"
        seconds = float(str(service["stop_grace_period"]).removesuffix("s"))
        if seconds < drain(service["environment"].get("HUB_DRAIN")) + LINGER + 10:
            yield f"compose.yaml: {name}: killed after {seconds:.0f} s, before its drain is over"
        if not service.get("read_only") or "ALL" not in service.get("cap_drop", ()):
            yield f"compose.yaml: {name}: not read-only, or with capabilities"


def references() -> Iterator[str]:
    """Networks, volumes, files and services that are named are there."""
    found = document(filled())
    for name, service in found["services"].items():
        for network in service.get("networks", ()):
            if network not in found["networks"]:
                yield f"compose.yaml: {name}: no network {network}"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            known = (DEPLOY / source).exists() if source.startswith(".") else source in found["volumes"]
            if not known:
                yield f"compose.yaml: {name}: no volume or file {source}"
        for other, how in service.get("depends_on", {}).items():
            if other not in found["services"]:
                yield f"compose.yaml: {name} waits for {other}, which is not there"
            elif how["condition"] == "service_healthy" and not _has_health(found["services"][other]):
                yield f"compose.yaml: {name} waits for the health of {other}, which has no check"
    proxy = found["services"]["proxy"]["environment"]
    if proxy["HUB_UPSTREAM"] not in found["services"]:
        yield "compose.yaml: the proxy leads to a service that is not there"
    if proxy["HUB_UPSTREAM_PORT"] != found["services"][proxy["HUB_UPSTREAM"]]["environment"]["PORT"]:
        yield "compose.yaml: the proxy leads to another port than the gateways listen on"


def starts() -> Iterator[str]:
    """What was found wrong when the containers were really started."""
    found = document({**filled(), "HTTPS_PORT": "8443"})["services"]
    probe = " ".join(found["postgres"]["healthcheck"]["test"])
    if " -h " not in probe:  # the image's first start has a server on the socket only, and stops it again
        yield "compose.yaml: postgres is asked over its socket, and so is healthy before it stays"
    if "/data" not in found["valkey"].get("tmpfs", ()):  # the image declares it as a volume
        yield "compose.yaml: each new container of valkey leaves a volume without a name behind"
    for mapping in found["proxy"]["ports"]:
        outer, inner = mapping.removesuffix("/udp").split(":")
        if outer == "8443" and inner != outer:  # Caddy listens on the port of the public address
            yield f"compose.yaml: the proxy's port {outer} leads to {inner}, where nobody listens"
    public = urlsplit(example()["HUB_PUBLIC_URL"])
    if (public.port or 443) != int(example()["HTTPS_PORT"]):
        yield f".env.example: HTTPS_PORT is {example()['HTTPS_PORT']}, but the public address is {public.geturl()}"


def _has_health(service: Mapping[str, Any]) -> bool:
    return "healthcheck" in service or "build" in service


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (variables_agree, services, references, starts)
