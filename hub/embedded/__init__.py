"""PostgreSQL with pgvector and Valkey, run as our own child processes from installed wheels.

Nothing here needs root, a package manager or the network. The servers listen on unix sockets in a private folder only.
"""

from hub.embedded.errors import EmbeddedError, FolderInUse, ServerFailed
from hub.embedded.layout import Layout
from hub.embedded.servers import Servers, running

__all__ = ["EmbeddedError", "FolderInUse", "Layout", "ServerFailed", "Servers", "running"]
