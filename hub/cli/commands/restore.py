"""`hub restore`: a backup into a fresh place."""

from pathlib import Path

import click

from hub.cli.helping import Command, examples
from hub.cli.output import Output, with_output
from hub.cli.words import Phrase, Words, _

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    cls=Command,
    epilog=examples(
        "HUB_DATA_DIR=/srv/hub2 hub restore nightly.zip --master-key /safe/master.key",
        ("HUB_DATA_DIR=/srv/hub2 hub doctor", "finds it whole; then: hub up"),
        ("hub db init --superuser-url postgresql://… && hub restore nightly.zip", "a foreign server"),
    ),
)
@click.argument("file", type=_FILE)
@click.option(
    "--master-key",
    "key_file",
    type=_FILE,
    metavar="FILE",
    help="Your copy of master.key; not needed with HUB_MASTER_KEY.",
)
@with_output
def command(output: Output, file: Path, key_file: Path | None) -> None:
    """Bring the backup FILE into a fresh data folder (HUB_DATA_DIR), or into an empty foreign database.

    Checks the file and the key first, restores in one transaction and counts every row again. Nothing that exists is
    overwritten; after a failure nothing is left.
    """
    from hub.cli.restoring import restore
    from hub.env import env

    found = env()
    manifest = restore(found, file, key_file=key_file, bar=lambda total: output.bar(_("restore"), total=total))
    place: Words = str(found.layout.root) if found.embedded_postgres else Phrase("the database")
    values = {
        "path": str(file.absolute()),
        "rows": manifest.rows,
        "tables": len(manifest.tables),
        "made_at": manifest.made_at,
        "place": place,
    }
    done = _(
        "{rows} rows of {tables} tables, as of {moment}, are in {place}",
        rows=manifest.rows,
        tables=len(manifest.tables),
        moment=manifest.made_at,
        place=place,
    )
    output.result(values, f"{done}\n  {_('next: hub doctor, then hub up')}")
