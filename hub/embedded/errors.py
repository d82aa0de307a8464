"""What can go wrong with the servers we start; each message is one line that a person can act on."""


class EmbeddedError(RuntimeError):
    """The embedded servers cannot be used as things are."""


class FolderInUse(EmbeddedError):
    """Another process holds the data folder: a running hub or a command that started PostgreSQL for itself."""

    def __init__(self, message: str, *, pid: int, purpose: str) -> None:
        super().__init__(message)
        self.pid = pid
        self.purpose = purpose


class ServerFailed(EmbeddedError):
    """A server did not start, or stopped while it was starting; the end of its log is in the message."""
