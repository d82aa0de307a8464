"""A database address turned into what Django wants."""

from typing import Any, Literal

from psycopg.conninfo import conninfo_to_dict


def database(dsn: str, *, role: Literal["app", "owner"]) -> dict[str, Any]:
    """Django's DATABASES entry of a PostgreSQL URL.

    `app` connections carry the current tenant and work under row-level security; `owner` is for migrations.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    return {
        "ENGINE": "tenants.db.backend",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"connect_timeout": 10, **parts, "hub_role": role},
    }
