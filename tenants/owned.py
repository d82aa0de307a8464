"""The application's own lock, in front of the database's: a tenant's rows are asked for as a tenant, or not at all."""

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models.expressions import Combinable, Expression, F
from django.db.models.sql.compiler import SQLCompiler

from tenants.context import NoTenant, current
from tenants.ids import uuid7


class OfScope(Expression):
    """True for rows of the scope that is active when the SQL is written, so a class may hold a queryset.

    Raises NoTenant where no scope is active; an operator's scope sees every row (read-only, by the database).
    """

    output_field = models.BooleanField()
    conditional = True

    def __init__(self, column: str = "tenant_id") -> None:
        super().__init__()
        self._column: Any = F(column)

    def get_source_expressions(self) -> list[Combinable]:
        """The column."""
        return [self._column]

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        """Replace the column by its resolved form."""
        (self._column,) = exprs

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:  # noqa: ARG002 - Django's signature
        """Compare with the current tenant."""
        scope = current()
        if scope.ops_reason:
            return "1 = 1", []
        if scope.tenant_id is None:
            raise NoTenant("a tenant's rows were asked for while no tenant is active")
        lhs, params = compiler.compile(self._column)
        return f"{lhs} = %s", [*params, scope.tenant_id]


class TenantManager(models.Manager[Any]):
    """Rows of the active scope; raises NoTenant when the query runs without one."""

    use_in_migrations = False

    def get_queryset(self) -> models.QuerySet[Any]:
        """Django's, narrowed."""
        return super().get_queryset().filter(OfScope())


class TenantOwned(models.Model):
    """A row of a tenant: time-ordered id, tenant, default-scoped manager. Its migration must list `Protect`.

    The database does not check `tenant` as a foreign key: a check per inserted message locks the one row that all
    of a tenant's traffic shares, and policies already admit only the active tenant's id. No index of its own either:
    put the tenant first in the indexes that queries need.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )

    objects = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"…{str(self.pk)[-8:]}"
