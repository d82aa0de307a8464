"""Where the embedded servers keep their files and sockets, worked out from the data folder alone.

Every process that knows the data folder finds the same servers without asking anybody.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# sun_path holds 108 bytes with its final NUL; the margin is for the lock file PostgreSQL puts beside the socket.
SOCKET_PATH_LIMIT = 100
POSTGRES_PORT = 5432  # only the socket's file name; nothing listens on TCP
_POSTGRES_SOCKET = f".s.PGSQL.{POSTGRES_PORT}.lock"
SUPERUSER = "postgres"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths, socket folder and addresses of one data folder; `privileged` is whether root starts the servers."""

    data_dir: Path
    role_prefix: str = "hub"
    database: str = "hub"
    privileged: bool = os.geteuid() == 0

    @property
    def root(self) -> Path:
        """The data folder without links, as the kernel reports it of a server's working folder."""
        return self.data_dir.resolve()

    @property
    def postgres_dir(self) -> Path:
        """PostgreSQL's data directory."""
        return self.root / "postgres"

    @property
    def valkey_dir(self) -> Path:
        """Valkey's working folder; it writes nothing there."""
        return self.root / "valkey"

    @property
    def log_dir(self) -> Path:
        """Where both servers' logs go."""
        return self.root / "log"

    @property
    def lock_file(self) -> Path:
        """Held with flock by whoever runs servers on this folder."""
        return self.root / "lock"

    @property
    def identity_file(self) -> Path:
        """Which processes serve this folder, for `hub status` and for finding orphans."""
        return self.root / "servers.json"

    @property
    def address_file(self) -> Path:
        """Where the running hub serves; believed only while somebody holds the lock."""
        return self.root / "address"

    @property
    def master_key_file(self) -> Path:
        """The generated master key of an embedded hub."""
        return self.root / "master.key"

    @property
    def master_key_expected_file(self) -> Path:
        """Present once a master key was made, so that a lost key is not silently replaced."""
        return self.root / "master.key.made"

    @property
    def cluster_ready_file(self) -> Path:
        """Present once the cluster is complete; without it a half-made one is made anew."""
        return self.root / "postgres.ready"

    @property
    def run_dir(self) -> Path:
        """The private folder of the sockets: in the data folder, or a short runtime folder when that cannot serve.

        It cannot when the path is too long for a socket, and when root starts the servers: their own account may
        be unable to enter the folders above the data folder, whose permissions are not ours to change.
        """
        inside = self.root / "run"
        if not self.privileged and len(os.fsencode(inside / _POSTGRES_SOCKET)) <= SOCKET_PATH_LIMIT:
            return inside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return self._runtime_base() / f"agent-hub-{os.geteuid()}-{short}"

    def _runtime_base(self) -> Path:
        run = Path("/run")
        return run if self.privileged and run.is_dir() else Path(tempfile.gettempdir())

    @property
    def valkey_socket(self) -> Path:
        """Valkey's socket."""
        return self.run_dir / "valkey.sock"

    @property
    def redis_url(self) -> str:
        """Valkey's address for redis-py."""
        return f"unix://{quote(str(self.valkey_socket))}"

    @property
    def superuser_dsn(self) -> str:
        """The cluster's superuser, for `hub db init` only: it passes every row-level policy."""
        return self.dsn(SUPERUSER, database="postgres")

    @property
    def owner_dsn(self) -> str:
        """The schema's owner, for migrations."""
        return self.dsn(f"{self.role_prefix}_owner")

    @property
    def login_dsn(self) -> str:
        """The login every running process uses."""
        return self.dsn(f"{self.role_prefix}_login")

    def dsn(self, role: str, *, database: str | None = None) -> str:
        """The address of a database on the socket as `role`."""
        name = quote(database or self.database, safe="")
        host = quote(str(self.run_dir), safe="")
        return f"postgresql://{quote(role, safe='')}@/{name}?host={host}&port={POSTGRES_PORT}"
