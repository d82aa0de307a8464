"""A module of tests that share a hub is run by one worker, however many there are."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_marked_module_stays_on_one_worker() -> None:
    module = Path(__file__).with_name("test_grouped.py")
    line = [sys.executable, "-m", "pytest", "-v", "-n", "2", "--dist", "loadgroup", str(module)]
    done = subprocess.run(line, check=False, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout
    workers = re.findall(r"\[(gw\d)\] .*PASSED .*test_grouped", done.stdout)
    assert len(workers) == 8
    assert len(set(workers)) == 1
