"""The image: built from locks in step, run by nobody special, with nothing in it that builds."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scripts import image_lock
from scripts.deploycheck.program import DEPLOY, ROOT, refused, variables, version

DOCKERFILE = DEPLOY / "Dockerfile"
IGNORE = DEPLOY / "Dockerfile.dockerignore"
_BUILD_TOOLS = re.compile(r"\b(apt-get|apt|gcc|build-essential|uv|pip install|curl|wget|git)\b")


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, its argument) in order; comments are gone and lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    parts = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(part[0].upper(), part[1].strip() if len(part) > 1 else "") for part in parts]


def stages(found: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The instructions stage by stage, each beginning with its FROM."""
    split: list[list[tuple[str, str]]] = []
    for one in found:
        if one[0] == "FROM":
            split.append([])
        if split:
            split[-1].append(one)
    return split


def locks() -> Iterator[str]:
    """The image's locks are the project's."""
    for path, text in image_lock.locks().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"{path.relative_to(ROOT)} is stale: python scripts/image_lock.py"


def dockerfile(path: Path = DOCKERFILE) -> Iterator[str]:
    """What a reviewer would ask of the Dockerfile."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("# syntax="):
        yield "Dockerfile: a syntax line fetches a program from a registry, and what engines have built in is enough"
    found = instructions(text)
    split = stages(found)
    if len(split) < 2:
        yield "Dockerfile: one stage only, so what builds stays in the image"
        return
    final = split[-1]
    yield from _final(final)
    for name, value in found:
        if name == "COPY" and "--from=" not in value:
            yield from _copied([part for part in value.split() if not part.startswith("--")][:-1])
        if name == "RUN" and ("pip sync" in value or "pip install" in value) and "/dist/" not in value:
            for command in re.findall(r"pip sync[^&]*", value):
                if "--require-hashes" not in command:
                    yield f"Dockerfile: installed without hashes: {command.strip()}"


def _final(final: Sequence[tuple[str, str]]) -> Iterator[str]:
    has = dict(final)
    user = has.get("USER", "root").split(":")[0]
    if not user.isdigit() or int(user) == 0:
        yield f"Dockerfile: USER must be a number that Kubernetes can see not to be root, not {user}"
    for wanted in ("HEALTHCHECK", "ENTRYPOINT", "STOPSIGNAL", "LABEL", "EXPOSE"):
        if wanted not in has:
            yield f"Dockerfile: no {wanted} in the final stage"
    for name, value in final:
        if name == "RUN" and (tool := _BUILD_TOOLS.search(value)):
            yield f"Dockerfile: the final stage uses {tool[0]}"
        if name == "ARG" and value.startswith("VERSION=") and value != f"VERSION={version()}":
            yield f"Dockerfile: {value}, but the project is {version()}"
    settings = dict(re.findall(r"\b(HUB_[A-Z_]+|PORT)=(\S+)", has.get("ENV", "")))
    for name in settings.keys() - variables():
        yield f"Dockerfile: the program reads no {name}"
    if has.get("EXPOSE") != settings.get("PORT"):
        yield f"Dockerfile: EXPOSE {has.get('EXPOSE')}, but PORT is {settings.get('PORT')}"
    command = re.findall(r'"([^"]*)"', has.get("CMD", ""))
    if why := refused(command):
        yield f"Dockerfile: CMD {command}: {why}"


def _copied(sources: Sequence[str]) -> Iterator[str]:
    kept = [line[1:] for line in IGNORE.read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    for source in sources:
        if not (ROOT / source).exists():
            yield f"Dockerfile: COPY {source}: there is no such file"
        elif source not in kept:
            yield f"Dockerfile: COPY {source}: {IGNORE.name} leaves it out"


def hadolint() -> Iterator[str]:
    """The linter's word."""
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        return
    done = subprocess.run([program, "--no-color", str(DOCKERFILE)], check=False, capture_output=True, text=True)
    yield from (f"hadolint: {line}" for line in (done.stdout + done.stderr).splitlines() if line)


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (locks, dockerfile, hadolint)
