"""`python -m hub.cli.prepare`: roles, schema and demo tenant, before anything serves. Prints one JSON line.

A process of its own: what Django loads for this is gone again before the supervisor settles down.
"""

import gc
import json
import sys
from importlib import import_module
from importlib.util import find_spec

import psycopg

from hub.cli import database
from hub.cli.restoring import restored_file
from hub.env import Env, env
from tenants.db.roles import check_login


def prepare(found: Env) -> dict[str, object]:
    """Make the database ready and return what `hub up` shows; the first password is there the first time only."""
    if found.embedded_postgres:
        database.initialise(found)
    with psycopg.connect(found.direct_dsn, connect_timeout=10) as connection:
        check_login(connection)
    database.set_up_django()
    if found.owner_dsn is not None and database.pending(found):
        database.migrate(found)
    restored_file(found.layout).unlink(missing_ok=True)  # from now on rows may come and go
    seeded: object = None
    if find_spec("hub.seed") is not None:
        seeded = import_module("hub.seed").seed_demo()
    return dict(seeded) if isinstance(seeded, dict) else {}


if __name__ == "__main__":
    from hub.cli.language import speak
    from hub.cli.root import guarded

    gc.disable()  # it lives for a moment, and Django makes the same models again for each step of the schema
    speak()
    with guarded():
        sys.stdout.write(json.dumps(prepare(env()), default=str) + "\n")
