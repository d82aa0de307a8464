"""What can go wrong around tenants, keys and quotas, as types.

TenantsError
├── UnknownPlan        a plan slug that is not in the table
├── KeyUnavailable     the data key that sealed a blob is not in this process's cache: load the tenant again
├── Tampered           a blob does not authenticate in this place: changed, moved or cut
└── MasterKeyMissing   a data key is wrapped under a master key that the ring does not hold
"""

from collections.abc import Sequence


class TenantsError(Exception):
    """Base of all errors of this package but `tenants.context.NoTenant`."""


class UnknownPlan(TenantsError):
    """No plan has this slug; `known` are those there are."""

    def __init__(self, slug: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no plan {slug!r}; there are: {', '.join(known)}")
        self.slug = slug
        self.known = tuple(known)


class KeyUnavailable(TenantsError):
    """The key is not loaded; `await vault.load(tenant_id)` first, with `fresh=True` after a rotation elsewhere."""


class Tampered(TenantsError):
    """The blob is not what was sealed for this tenant, purpose, table, column and row. Nothing of it is returned."""


class MasterKeyMissing(TenantsError):
    """No key of the ring opens this wrapped key; HUB_MASTER_KEY lacks one that is still in use."""
