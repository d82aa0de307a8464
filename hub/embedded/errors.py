"""What can go wrong with the servers we start; each message is one line that a person can act on."""

from hub.phrase import Phrase, Told


class EmbeddedError(Told, RuntimeError):
    """The embedded servers cannot be used as things are."""


class FolderInUse(EmbeddedError):
    """Another process holds the data folder: a running hub or a command that started PostgreSQL for itself."""

    def __init__(self, text: str, /, *, pid: int, purpose: str, **values: object) -> None:
        super().__init__(text, pid=pid, purpose=Phrase(purpose), **values)
        self.pid = pid
        self.purpose = purpose


class ServerFailed(EmbeddedError):
    """A server did not start, or stopped while it was starting; the end of its log is in the message."""
