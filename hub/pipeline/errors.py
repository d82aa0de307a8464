"""What the pipeline may tell a door."""


class Unavailable(Exception):
    """Nothing was stored: the database is away. The sender should try again after `retry_after` seconds."""

    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__("storage is away")
        self.retry_after = retry_after


class ConnectionUnknown(LookupError):
    """There is no such connection, or not for this tenant."""
