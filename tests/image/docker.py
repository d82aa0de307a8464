"""Docker and its Compose, asked by their command line."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OLDEST_COMPOSE = (2, 24)


def missing() -> str:
    """What is not there that the check needs; empty when all is."""
    if shutil.which("docker") is None:
        return "there is no docker"
    if (why := _failed("version", "--format", "{{.Server.Version}}")) is not None:
        return f"no Docker engine answers: {why}"
    if (why := _failed("compose", "version")) is not None:
        return f"there is no docker compose: {why}"
    found = run("compose", "version", "--short").strip().removeprefix("v").split(".")
    if tuple(int(part) for part in found[:2]) < OLDEST_COMPOSE:
        return f"docker compose is {'.'.join(found)}, and 2.24 is the oldest that reads deploy/compose.yaml"
    return ""


def _failed(*words: str) -> str | None:
    done = subprocess.run(["docker", *words], check=False, capture_output=True, text=True, timeout=60)
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


def run(*words: str, given: str = "", seconds: float = 120.0, codes: Sequence[int] = (0,)) -> str:
    """Standard output of `docker …`; an AssertionError with what it said when it ends otherwise than with `codes`."""
    done = subprocess.run(
        ["docker", *words], check=False, input=given, capture_output=True, text=True, timeout=seconds, cwd=ROOT
    )
    said = f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    assert done.returncode in codes, f"docker {' '.join(words[:6])} … ended with {done.returncode}: {said}"
    return done.stdout


def succeeds(*words: str) -> bool:
    """Whether `docker …` ends well."""
    return _failed(*words) is None


def inspect(name: str) -> dict[str, Any]:
    """All that the engine knows of a container or an image."""
    found: dict[str, Any] = json.loads(run("inspect", name))[0]
    return found


def has(name: str) -> bool:
    """Whether an image is here already."""
    return _failed("image", "inspect", name) is None


def pulled(name: str) -> bool:
    """Whether an image is here, if need be after pulling it."""
    return has(name) or _failed("pull", "--quiet", name) is None


def build(tag: str, dockerfile: Path, context: Path, arguments: Mapping[str, str], *, seconds: float = 1500.0) -> None:
    """Build an image."""
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    run("build", "--quiet", *given, "--file", str(dockerfile), "--tag", tag, str(context), seconds=seconds)
