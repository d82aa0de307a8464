"""`hub backup`: everything into one file."""

from pathlib import Path

import click

from hub.cli.helping import Command, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import size
from hub.cli.words import _


@click.command(
    cls=Command,
    epilog=examples(
        "hub backup /backups/hub-$(date +%F).zip",
        "hub backup nightly.zip --force --json",
        ("cp .hub/master.key /somewhere/else/", "the key is NOT in the backup"),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@with_output
def command(output: Output, file: Path, force: bool) -> None:  # noqa: FBT001 - click's flag
    """Save all rows into FILE, consistent to one moment, while the hub goes on working.

    The master key is not in it: without your copy of that nothing in the backup can be read.
    """
    from hub.cli import archive, database, dumping, keeping
    from hub.env import env

    found = env()
    if file.exists() and not force:
        raise CommandFailed("{file} is there already: choose another name, or say --force", file=file)
    with database.available(found, purpose="hub backup"):
        manifest = dumping.take(found, file, bar=lambda total: output.bar(_("backup"), total=total))
    keeping.note_backup(found.layout, file=file, made_at=manifest.made_at)
    total = file.stat().st_size
    values = {
        "path": str(file.absolute()),
        "bytes": total,
        "rows": manifest.rows,
        "tables": len(manifest.tables),
        "made_at": manifest.made_at,
        "sha256": manifest.dump_sha256,
        "manifest": archive.MANIFEST,
        "holds_master_key": False,
    }
    where = "HUB_MASTER_KEY" if found.master_key is not None else str(found.layout.master_key_file)
    done = _(
        "{rows} rows of {tables} tables are in {file} ({size})",
        rows=manifest.rows,
        tables=len(manifest.tables),
        file=file,
        size=size(total),
    )
    key = _("the master key is not: keep a copy of {where} in another place", where=where)
    output.result(values, f"{done}\n  {key}")
