"""The `hub` command as a person has it: a process of its own, behind a real terminal."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
# A session whose terminal this is: only then does Ctrl-C reach it. A shell has what runs behind it ignore Ctrl-C,
# and who inherits that ignores it too: undone, so that the tests may run behind a shell.
OWN_TERMINAL = (
    "import fcntl, os, signal, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hub.cli", *arguments]


def variables(data_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_") and name != "PORT"}
    return {**kept, "HUB_DATA_DIR": str(data_dir), "PORT": "0", "TERM": "xterm-256color", **more}


def hub(*arguments: str, data_dir: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments),
        check=False,
        cwd=ROOT,
        env=variables(data_dir, HUB_LOG_FORMAT="json", **more),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )


class Terminal:
    """A command on a terminal: what it shows can be waited for, and typed at."""

    columns = 100

    def __init__(self, *arguments: str, data_dir: Path, **more: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self.columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *command(*arguments)[1:]],
            cwd=ROOT,
            env=variables(data_dir, **more),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.seen = ""
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end inside of one
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        os.close(self._master)

    @property
    def plain(self) -> str:
        return COLOUR.sub("", self.seen)

    def until(self, words: str, *, seconds: float = PATIENCE) -> None:
        """Wait until the terminal has shown these words after those that were waited for before."""
        deadline = time.monotonic() + seconds
        while (found := self.plain.find(words, self._at)) < 0:
            assert self._read(deadline), f"{words!r} never came: {self.plain[-2000:]!r}"
        self._at = found + len(words)

    def end(self, *, seconds: float = PATIENCE) -> int:
        """Wait for the end of the command; its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(max(1.0, deadline - time.monotonic()))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._master], [], [], left)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += self._characters.decode(data)
        return bool(data)


class Narrow(Terminal):
    """The width that most begin with."""

    columns = 80
