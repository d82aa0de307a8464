"""Bring everything the hub needs into .boot and .venv, once for each state of requirements.lock.

Needs Python 3.11 or newer with pip and nothing else: neither root nor python3-venv, and the system's own packages stay
as they are. uv comes as a plain package into .boot; where it cannot be had, venv and pip do the same, slower.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOT = ROOT / ".boot"
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / ".installed"
PYTHON = VENV / "bin" / "python"


def main() -> int:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        print(
            f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 …",
            file=sys.stderr,
        )
        return 1
    if is_current():
        return 0
    with (ROOT / ".bootstrap.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not is_current():
            try:
                install()
            except subprocess.CalledProcessError as error:
                print(f"installing failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
                return 1
    return 0


def wanted() -> str:
    """What the stamp says when everything is in place: the lock, the project's own description, the interpreter."""
    digest = hashlib.sha256()
    for part in (LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), os.fsencode(ROOT)):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def is_current() -> bool:
    if VENV.is_symlink():  # another checkout's environment, which is not ours to change
        return True
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted()


def install() -> None:
    print("installing what the hub needs, this takes a moment …", file=sys.stderr)
    uv = find_uv()
    if uv is None:
        install_with_pip()
    else:
        install_with_uv(uv)
    STAMP.write_text(wanted())


def find_uv() -> list[str] | None:
    own = BOOT / "bin" / "uv"
    if not own.exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            str(BOOT),
        ]
        subprocess.run([*command, "--upgrade", "uv"], check=False, stdout=sys.stderr)
    if own.exists():
        return [str(own)]
    found = shutil.which("uv")
    return [found] if found else None


def install_with_uv(uv: list[str]) -> None:
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "UV_NO_PROGRESS": "1"}
    if not PYTHON.exists():
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True, env=environment)
    at = ["--python", str(PYTHON)]
    subprocess.run([*uv, "pip", "sync", "--quiet", *at, "--require-hashes", str(LOCK)], check=True, env=environment)
    own = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    subprocess.run([*uv, "pip", "install", "--quiet", *at, *own], check=True, env=environment)


def install_with_pip() -> None:
    """The same with venv and pip. The lock is complete, so nothing is resolved."""
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(LOCK)], check=True)
    subprocess.run([*pip, "--no-build-isolation", "--editable", str(ROOT)], check=True)


if __name__ == "__main__":
    sys.exit(main())
