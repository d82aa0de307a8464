"""`make shots`: take the pictures in docs/images of a hub with a shop's working day in it.

A hub in a temporary folder, a scripted model, a real Chromium. Names choose, such as `make shots ONLY="chat trace"`;
none means all. Times and ids differ from run to run, so the files do too.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"


def main(names: list[str]) -> int:
    """Start everything, take the pictures, say their sizes."""
    place = Path(tempfile.mkdtemp(prefix="hub-shots-"))
    for name in [name for name in os.environ if name.startswith("HUB_")]:
        del os.environ[name]
    os.environ.update(HUB_DATA_DIR=str(place / "data"), DJANGO_SETTINGS_MODULE="hub.settings")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # the browser's driver keeps a loop in this thread
    try:
        import django

        django.setup()
        from tests.shots.screens import take

        for name, size in take(place, FOLDER, names).items():
            sys.stdout.write(f"{name:24} {size / 1000:6.0f} kB\n")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
