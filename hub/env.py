"""The environment, read here and nowhere else: every variable, its default, and what is wrong with it.

All wrong or missing values are reported at once, by name, with what is expected; a value itself is never repeated,
since it may be a secret.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hub.embedded.layout import Layout
from hub.embedded.masterkey import existing_master_key, existing_master_keys, master_key
from hub.expected import Expected, fault
from hub.phrase import Phrase


class EnvError(ValueError):
    """The environment cannot be used: `faults` are variables and what is wrong with each, `problems` the lines."""

    def __init__(self, faults: Iterable[tuple[str, Phrase]]) -> None:
        self.faults = sorted(faults, key=lambda one: (one[0], str(one[1])))
        self.problems = [f"{name}: {reason}" for name, reason in self.faults]
        super().__init__("\n".join(self.problems))


def _url(value: str, *, schemes: frozenset[str], example: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in schemes or not (parts.netloc or parts.path):
        raise Expected("expected a URL such as {example}", example=example)
    return value


def _postgres_url(value: str) -> str:
    return _url(value, schemes=frozenset({"postgresql", "postgres"}), example="postgresql://user:password@host/hub")


def _redis_url(value: str) -> str:
    return _url(value, schemes=frozenset({"redis", "rediss", "unix"}), example="redis://host:6379/0")


def _broker_url(value: str) -> str:
    known = frozenset({"redis", "rediss", "redis+socket", "unix", "amqp", "amqps", "sentinel"})
    return _url(value, schemes=known, example="redis://host:6379/0, amqp://user:password@host//")


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise Expected(
            "expected an http or https URL without query, such as {example}", example="https://hub.example.org"
        )
    return value.rstrip("/")


def _master_key(value: SecretStr) -> SecretStr:
    keys = _decoded_keys(value)
    if not keys or any(len(key) != 32 for key in keys):
        raise Expected(
            "expected 32 bytes in base64, as made by: head -c 32 /dev/urandom | base64"
            " (while it is being changed: the new one, a comma, the old one)"
        )
    return value


def _decoded_keys(value: SecretStr) -> tuple[bytes, ...]:
    try:
        return tuple(base64.b64decode(part.strip(), validate=True) for part in value.get_secret_value().split(","))
    except (binascii.Error, ValueError):
        return ()


def _egress(value: str) -> tuple[str, ...]:
    entries = tuple(entry.strip() for entry in value.split(",") if entry.strip())
    wrong = [entry for entry in entries if not _egress_entry(entry)]
    if wrong:
        raise Expected(
            "expected host:port or address ranges (10.0.0.0/8), parted by commas; not: {wrong}", wrong=", ".join(wrong)
        )
    return entries


def _egress_entry(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        host, _, port = entry.rpartition(":")
        return bool(host) and port.isdigit() and 0 < int(port) < 65536
    return True


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _crash_at(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_.-]+:[1-9][0-9]*", value):
        raise Expected("expected name:n, the crash point and the passage to end at")
    return value


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]


class Env(BaseSettings):
    """Every variable the hub reads; `HUB_` in front, except PORT, which hosting platforms set."""

    model_config = SettingsConfigDict(
        env_prefix="HUB_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        validate_default=False,
    )

    data_dir: Path = Path(".hub")
    """Files of the embedded servers, and the master key."""
    database_url: PostgresUrl | None = None
    """A PostgreSQL 18+ with pgvector instead of the embedded one, as the login role."""
    database_owner_url: PostgresUrl | None = None
    """The same database as the owner role, for migrations."""
    database_direct_url: PostgresUrl | None = None
    """The same database past a pooler; session locks need it."""
    database_pooler: Literal["direct", "transaction"] = "direct"
    """`transaction` when HUB_DATABASE_URL leads to a pooler that hands out connections per transaction."""
    db_role_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")] = "hub"
    """Two hubs on one cluster need two prefixes."""
    redis_url: RedisUrl | None = None
    """A Redis or Valkey 7.2+ instead of the embedded one."""
    broker_url: Annotated[str, AfterValidator(_broker_url)] | None = None
    """Celery's broker; the Redis unless set."""
    master_key: Annotated[SecretStr, AfterValidator(_master_key)] | None = None
    """Encrypts the tenants' keys: 32 bytes in base64; several, parted by commas, while it is being changed."""
    secret_key: SecretStr | None = None
    """Signs cookies; derived from the master key unless set."""
    llm_base_url: HttpUrl | None = None
    """An OpenAI-compatible endpoint for agents that name no model of their own."""
    llm_api_key: SecretStr | None = None
    """Its bearer key, if it wants one."""
    llm_model: str | None = None
    """The model's name there; goes with the endpoint."""
    embedding_base_url: HttpUrl | None = None
    """An OpenAI-compatible embedding endpoint; the built-in model unless set."""
    embedding_api_key: SecretStr | None = None
    """Its bearer key, if it wants one."""
    embedding_model: str | None = None
    """The embedding model's name there."""
    embedding_dimensions: Annotated[int, Field(ge=1, le=16_000)] | None = None
    """How long its vectors are; 384 are stored."""
    public_url: HttpUrl | None = None
    """How the world reaches the hub; webhook addresses are built from it."""
    egress_allow: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_egress)] = ()
    """Private addresses that tenants' URLs may reach: host:port or address ranges, parted by commas."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = ()
    """Host names served besides those of HUB_PUBLIC_URL and this machine, parted by commas."""
    port: Annotated[int, Field(ge=0, le=65535, validation_alias="PORT")] = 8000
    """The port to listen on."""
    bind: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 opens the hub to the network."""
    role: Literal["all", "gateway", "runner", "worker", "beat"] = "all"
    """Which part of the hub this process is."""
    workers: Positive = Field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Celery's parallel tasks; twice the processors unless set."""
    memory_limit_percent: Annotated[int, Field(ge=10, le=95)] = 70
    """Share of the machine's memory past which caches shrink, then admission refuses."""
    retry_policy: Literal["exponential", "fixed"] = "exponential"
    """How waits between delivery attempts grow."""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)] = "INFO"
    """What is logged: this and everything graver."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` writes for people on a terminal and JSON elsewhere."""
    drain: Annotated[float, Field(ge=0, le=3600)] = 130.0
    """Seconds that open streams get to finish after SIGTERM."""
    metrics_token: SecretStr | None = None
    """Bearer token for /metrics and health details from outside this machine."""
    l1_sessions: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    """Warm sessions kept per runner; 0 switches the cache off."""
    turn_concurrency: Positive = 1_000
    """Turns one runner works on at a time."""
    lease_seconds: Annotated[float, Field(ge=1, le=600)] = 10.0
    """Life of a session's lease without renewal, by the database clock."""
    release_idle_seconds: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    """Idle time after which a session leaves the warm cache."""
    crash_at: Annotated[str, AfterValidator(_crash_at)] | None = None
    """Tests only: end the process at the nth passage of a named point."""

    @property
    def embedded_postgres(self) -> bool:
        """Whether we run PostgreSQL ourselves."""
        return self.database_url is None

    @property
    def embedded_valkey(self) -> bool:
        """Whether we run Valkey ourselves."""
        return self.redis_url is None

    @property
    def layout(self) -> Layout:
        """The data folder's paths and addresses."""
        return Layout(self.data_dir.absolute(), role_prefix=self.db_role_prefix)

    @property
    def login_dsn(self) -> str:
        """The database for running processes."""
        return self.database_url or self.layout.login_dsn

    @property
    def owner_dsn(self) -> str | None:
        """The database for migrations; None where an operator gave no owner."""
        return self.layout.owner_dsn if self.database_url is None else self.database_owner_url

    @property
    def direct_dsn(self) -> str:
        """The database without a pooler in between."""
        return self.database_direct_url or self.login_dsn

    @property
    def redis(self) -> str:
        """Redis for redis-py."""
        return self.redis_url or self.layout.redis_url

    @property
    def broker(self) -> str:
        """Celery's broker, in kombu's spelling."""
        url = self.broker_url or self.redis
        return "redis+socket" + url.removeprefix("unix") if url.startswith("unix:") else url

    @property
    def site_url(self) -> str:
        """The address people use, without a slash at the end."""
        host = "127.0.0.1" if self.bind in {"0.0.0.0", "::", ""} else self.bind  # noqa: S104 - compared, not bound
        return self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def master_keys(self) -> tuple[bytes, ...]:
        """The master keys, the primary first: `MasterKeys(*env.master_keys())`.

        An embedded hub makes its file at the first call. Raises EmbeddedError when the file is lost.
        """
        if self.master_key is not None:
            return _decoded_keys(self.master_key)
        master_key(self.layout)
        return existing_master_keys(self.layout)

    def master_key_bytes(self) -> bytes:
        """The primary master key."""
        return self.master_keys()[0]

    def django_secret(self) -> str:
        """Django's signing key. Where no master key exists yet nothing was signed, so any key serves."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        known = self.master_key_bytes() if self.master_key else existing_master_key(self.layout)
        if known is None:
            return secrets.token_urlsafe(48)
        return hmac.new(known, b"hub: django secret key", hashlib.sha256).hexdigest()


def variable(field: str) -> str:
    """The variable's name of a field of Env."""
    return "PORT" if field == "port" else f"HUB_{field.upper()}"


# (variable that is set, what it needs, why)
_NEEDS = (
    ("HUB_DATABASE_URL", "HUB_MASTER_KEY", Phrase("a foreign database needs a key kept apart from it")),
    ("HUB_DATABASE_OWNER_URL", "HUB_DATABASE_URL", Phrase("the owner's address goes with the login's")),
    ("HUB_DATABASE_DIRECT_URL", "HUB_DATABASE_URL", Phrase("the direct address goes with the login's")),
    ("HUB_LLM_BASE_URL", "HUB_LLM_MODEL", Phrase("a model endpoint needs the model's name")),
    (
        "HUB_LLM_MODEL",
        "HUB_LLM_BASE_URL",
        Phrase("a model's name needs its endpoint, such as https://api.openai.com/v1"),
    ),
    ("HUB_EMBEDDING_BASE_URL", "HUB_EMBEDDING_MODEL", Phrase("an embedding endpoint needs the model's name")),
    ("HUB_EMBEDDING_BASE_URL", "HUB_EMBEDDING_DIMENSIONS", Phrase("vectors of unknown length cannot be stored")),
)


def read() -> Env:
    """Read and check everything; raises EnvError with all that is wrong."""
    faults = list(_missing(os.environ))
    try:
        found = Env()
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            name = str(one["loc"][0])
            faults.append((name if name.isupper() else variable(name), fault(one)))
        raise EnvError(faults) from None
    if faults:
        raise EnvError(faults)
    return found


def _missing(values: Mapping[str, str]) -> Iterator[tuple[str, Phrase]]:
    for given, needed, why in _NEEDS:
        if values.get(given) and not values.get(needed):
            yield needed, Phrase("missing, because {given} is set: {why}", given=given, why=why)
    if values.get("HUB_DATABASE_POOLER") == "transaction" and not values.get("HUB_DATABASE_DIRECT_URL"):
        yield "HUB_DATABASE_DIRECT_URL", Phrase("missing, because a transaction pooler cannot hold session locks")


def select_settings() -> None:
    """Point Django at our settings unless something else was chosen; asgi, celery, manage.py and commands call it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a process of ours, with some variables changed."""
    return {**os.environ, **changes}


@lru_cache(maxsize=1)
def env() -> Env:
    """The process's environment, read once."""
    return read()
