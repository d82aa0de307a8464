"""`hub status`: what runs on this data folder."""

import click

from hub.cli.output import Output, with_output
from hub.embedded import folders, processes
from hub.env import env


@click.command()
@with_output
def command(output: Output) -> None:
    """Show whether the hub runs here, and its servers."""
    found = env()
    held = folders.holder(found.layout)
    servers = processes.recorded(found.layout)
    address = None
    if held is not None and held[1] == folders.HUB and found.layout.address_file.exists():
        address = found.layout.address_file.read_text()
    values = {
        "running": held is not None,
        "pid": held[0] if held else None,
        "purpose": held[1] if held else None,
        "data_dir": str(found.layout.root),
        "address": address,
        "servers": servers,
    }
    head = f"{held[1]} (process {held[0]}) on {found.layout.root}" if held else f"nothing runs on {found.layout.root}"
    lines = [f"  address: {address}"] if address else []
    lines += [f"  {one['name']}: process {one['pid']}{'' if one['alive'] else ', gone'}" for one in servers]
    output.result(values, "\n".join([head, *lines]))
