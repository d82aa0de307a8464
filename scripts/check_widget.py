"""Whether the committed chat widget is what its sources give, byte for byte.

Needs Node and npm, which running the hub does not: without them (or without a registry that has the build's two
packages) nothing is compared, which is said. `--write` rebuilds the committed file instead.
"""

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "hub" / "console" / "widget"
BUILT = ROOT / "hub" / "static" / "chat" / "widget.js"
INSTALL_SECONDS = 300
BUILD_SECONDS = 120
OLDEST_NODE = 20


def main() -> int:
    missing = _missing() or _install()
    if missing:
        print(f"the chat widget was not rebuilt: {missing}", file=sys.stderr)
        return 1 if "--write" in sys.argv else 0
    _run("npm", "run", "--silent", "check")
    if "--write" in sys.argv:
        print(_run("node", "build.mjs", str(BUILT)).strip())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "widget.js"
        _run("node", "build.mjs", str(fresh))
        if filecmp.cmp(fresh, BUILT, shallow=False):
            print("the chat widget is what its sources give")
            return 0
    print(f"{BUILT.relative_to(ROOT)} is not what its sources give: run `make widget`", file=sys.stderr)
    return 1


def _missing() -> str:
    if not (shutil.which("node") and shutil.which("npm")):
        return "there is no Node with npm on this machine"
    major = int(_run("node", "--version").removeprefix("v").split(".")[0])
    return "" if major >= OLDEST_NODE else f"Node {OLDEST_NODE} or newer is needed"


def _install() -> str:
    """What stands in node_modules already is kept when it is what the lock file names."""
    lock, installed = PROJECT / "package-lock.json", PROJECT / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return ""
    try:
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", seconds=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return "npm could not bring its build tools"
    return ""


def _run(*command: str, seconds: int = BUILD_SECONDS) -> str:
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, timeout=seconds, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
