"""A folder of Kubernetes manifests as its kustomization builds them: the part of kustomize that deploy/k8s uses.

A test compares it with kubectl's where that is installed. Anything else in a kustomization is refused, so that what is
checked is what is rolled out.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_KNOWN = {
    "apiVersion",
    "kind",
    "labels",
    "resources",
    "configMapGenerator",
    "images",
    "namespace",
    "patches",
}
_CLUSTER_WIDE = {"Namespace"}


class Unsupported(ValueError):
    """The kustomization says something that this does not understand."""


def variables(path: Path) -> dict[str, str]:
    """An environment file."""
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: value for name, sign, value in lines if sign and not name.startswith("#")}


def render(folder: Path) -> list[Object]:
    """All objects of a kustomization, as they would be applied (without hashes in names)."""
    given = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if strange := given.keys() - _KNOWN:
        raise Unsupported(f"{folder.name}: {', '.join(sorted(strange))}")
    objects: list[Object] = []
    for name in given.get("resources", ()):
        path = folder / name
        objects += render(path) if path.is_dir() else load(path)
    for patch in given.get("patches", ()):
        objects = _patched(objects, patch, folder)
    for generator in given.get("configMapGenerator", ()):
        _generate(objects, generator, folder)
    for labels in given.get("labels", ()):
        for one in objects:
            one["metadata"].setdefault("labels", {}).update(labels["pairs"])
    for image in given.get("images", ()):
        _rename(objects, image)
    if namespace := given.get("namespace"):
        for one in objects:
            if one["kind"] not in _CLUSTER_WIDE:
                one["metadata"]["namespace"] = namespace
    return objects


def load(path: Path) -> list[Object]:
    """The objects of a file; what an anchor gave to several places is made independent."""
    return [json.loads(json.dumps(one)) for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def _generate(objects: list[Object], generator: Object, folder: Path) -> None:
    data: dict[str, str] = {}
    for name in generator["envs"]:
        data |= variables(folder / name)
    for one in objects:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == generator["name"]:
            if generator.get("behavior") != "merge":
                raise Unsupported(f"two ConfigMaps named {generator['name']}")
            one["data"] |= data
            return
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data})


def _patched(objects: list[Object], patch: Object, folder: Path) -> list[Object]:
    found = yaml.safe_load((folder / patch["path"]).read_text(encoding="utf-8"))
    if isinstance(found, dict) and found.get("$patch") == "delete":
        wanted = (found["kind"], found["metadata"]["name"])
        kept = [one for one in objects if (one["kind"], one["metadata"]["name"]) != wanted]
        if len(kept) == len(objects):
            raise Unsupported(f"{patch['path']}: there is no {wanted} to delete")
        return kept
    if not isinstance(found, list):
        raise Unsupported(patch["path"])
    target = patch["target"]
    for one in objects:
        if one["kind"] == target["kind"] and re.fullmatch(target["name"], one["metadata"]["name"]):
            for change in found:
                _replace(one, change)
    return objects


def _replace(one: Object, change: Object) -> None:
    if change["op"] != "replace":
        raise Unsupported(change["op"])
    *way, last = change["path"].strip("/").split("/")
    at: Any = one
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if last not in at:
        raise Unsupported(f"{change['path']}: there is nothing to replace")
    at[last] = change["value"]


def _rename(objects: list[Object], image: Object) -> None:
    for one in objects:
        for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
