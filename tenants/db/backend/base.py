"""A PostgreSQL backend whose connections always carry the scope of `tenants.context`, or none at all.

`OPTIONS["hub_role"]` is `app` (default: logs in as the login and works as `<prefix>_app`) or `owner` (migrations: no
stamp, `hub.maintenance` on). `settings.HUB_DATABASE_POOLER = "transaction"` makes every stamp transaction-local.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from tenants.context import Scope, current
from tenants.db.roles import RoleNames

_STAMP = (
    "SELECT set_config('role', %s, {local}), set_config('hub.tenant_id', %s, {local}), "
    "set_config('hub.ops_reason', %s, {local})"
)
_SESSION_STAMP = _STAMP.format(local="false")
_LOCAL_STAMP = _STAMP.format(local="true")


class ScopeChanged(RuntimeError):
    """The tenant changed while a server-side cursor of the same transaction could still be read."""


class LocalCursor(base.Cursor):
    """A cursor for shared server connections: each statement runs in a transaction that carries the stamp."""

    wrapper: "DatabaseWrapper | None" = None

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's."""
        if self.wrapper is None:
            return super().execute(*args, **kwargs)  # type: ignore[misc]  # not in the stubs
        with self.wrapper.stamped_transaction():
            return super().execute(*args, **kwargs)  # type: ignore[misc]  # not in the stubs

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's."""
        if self.wrapper is None:
            return super().executemany(*args, **kwargs)  # type: ignore[misc]  # not in the stubs
        with self.wrapper.stamped_transaction():
            return super().executemany(*args, **kwargs)  # type: ignore[misc]  # not in the stubs


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's connection plus the mark of what its session was last stamped with."""

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        options: Mapping[str, Any] = settings_dict.get("OPTIONS") or {}
        self.hub_role = str(options.get("hub_role", "app"))
        if self.hub_role not in ("app", "owner"):
            raise ImproperlyConfigured(f"DATABASES[{alias!r}]: hub_role is app or owner, not {self.hub_role!r}")
        self.names = RoleNames(getattr(settings, "HUB_DB_ROLE_PREFIX", "hub"))
        self.pooled_by_transaction = False
        self._mark: Scope | None = None
        self._open_named = False

    def get_connection_params(self) -> dict[str, Any]:
        """Django's, with the role (or the owner's maintenance mark) as a start-up option."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop("hub_role", None)
        if self.hub_role == "owner":
            extra = "-c hub.maintenance=on"
        elif self.pooled_by_transaction:
            params["cursor_factory"] = LocalCursor
            return params  # the server session is shared, so nothing may be set on it
        else:
            extra = f"-c role={self.names.runtime('app')}"
        params["options"] = f"{params.get('options', '')} {extra}".strip()
        return params

    def connect(self) -> None:
        """A connection fresh from the server or from the pool: what it was stamped with is unknown."""
        self._mark = None
        self._open_named = False
        pooler = getattr(settings, "HUB_DATABASE_POOLER", "")
        self.pooled_by_transaction = self.hub_role == "app" and pooler == "transaction"
        if self.pooled_by_transaction:
            self.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
        super().connect()

    def create_cursor(self, name: str | None = None) -> Any:
        """Django's cursor; behind a transaction pooler it opens a stamped transaction where none is open."""
        cursor = super().create_cursor(name)
        if isinstance(cursor, LocalCursor):
            cursor.wrapper = self
        return cursor

    def _cursor(self, name: str | None = None) -> Any:
        self.close_if_health_check_failed()
        self.ensure_connection()
        if self.hub_role == "app" and not self.pooled_by_transaction:
            with self.wrap_database_errors:
                self._stamp_session()
        if name is not None and self.in_atomic_block:
            self._open_named = True
        return super()._cursor(name)  # type: ignore[misc]  # not in the stubs

    def _stamp_session(self) -> None:
        scope = current()
        if self._mark == scope:
            return
        if self._open_named and self._mark is not None:
            raise ScopeChanged("leave the transaction, or finish its iterator, before changing the tenant")
        self._mark = None
        with self.connection.cursor() as cursor:
            cursor.execute(_SESSION_STAMP, self._stamp(scope))
        self._mark = scope

    def _stamp(self, scope: Scope) -> tuple[str, str, str]:
        role = "ops" if scope.ops_reason else "app"
        return self.names.runtime(role), str(scope.tenant_id or ""), scope.ops_reason

    @contextmanager
    def stamped_transaction(self) -> Iterator[None]:
        """Behind a transaction pooler: the stamp and what follows share one transaction of the server."""
        scope = current()
        status = self.connection.info.transaction_status
        if status == TransactionStatus.IDLE:
            self._mark = None
        if status == TransactionStatus.IDLE and self.connection.autocommit:
            with self.connection.transaction():
                self._stamp_locally(scope)
                yield
            self._mark = None
            return
        if self._mark != scope:
            self._stamp_locally(scope)
        yield

    def _stamp_locally(self, scope: Scope) -> None:
        self._mark = None
        # Not create_cursor: the stamp itself must not ask for a stamp.
        with self.connection.cursor() as cursor:
            cursor.execute(_LOCAL_STAMP, self._stamp(scope))
        self._mark = scope

    def _commit(self) -> None:
        # COMMIT of a failed transaction is a rollback, which takes the stamp back too.
        if self.connection is not None and self.connection.info.transaction_status != TransactionStatus.INTRANS:
            self._mark = None
        if self.pooled_by_transaction:
            self._mark = None
        self._open_named = False
        super()._commit()  # type: ignore[misc]  # not in the stubs

    def _rollback(self) -> None:
        self._mark = None
        self._open_named = False
        super()._rollback()  # type: ignore[misc]  # not in the stubs

    def _savepoint_rollback(self, sid: str) -> None:
        self._mark = None
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # not in the stubs
