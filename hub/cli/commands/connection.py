"""`hub connection`: a tenant's accounts on channels."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import State, bold, fields, paint, table
from hub.cli.words import Phrase, Words, _
from hub.phrase import marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.models import Connection

    Function = Callable[..., Any]


@click.group(
    cls=Group,
    epilog=examples(
        "hub connection create web --tenant acme --agent helper",
        "hub connection create webhook --tenant acme --agent helper --set-file secret=secret.txt",
        "hub connection test site --tenant acme",
        "hub connection pause site --tenant acme",
    ),
)
def command() -> None:
    """Create, list, show, change, test, pause and delete connections."""


def _named(function: "Function") -> "Function":
    return click.argument("named", shell_complete=arguments.connections)(arguments.tenant(function))


_OPTIONS = ("burst", "debounce_ms", "on_unknown", "delivery_window", "allowed_origins")


def _settings(function: "Function") -> "Function":
    from_file = click.option(
        "--set-file", "files", multiple=True, metavar="KEY=PATH", help="The same, with the value read from a file."
    )
    return click.option(
        "--set",
        "given",
        multiple=True,
        metavar="KEY=VALUE",
        help="A field of the channel's credentials, or an option such as debounce_ms; repeat for several.",
    )(from_file(function))


@command.command(epilog=examples("hub connection create web --tenant acme --agent helper --name site"))
@click.argument("channel", shell_complete=arguments.channels)
@arguments.tenant
@click.option("--agent", "agent_name", required=True, shell_complete=arguments.agents, help="Who answers.")
@click.option("--name", default="", help="The name people see; the channel's unless given.")
@_settings
@with_output
def create(output: Output, channel: str, slug: str, agent_name: str, **given: Any) -> None:
    """Connect CHANNEL for a tenant; prints where the platform must send its webhooks."""
    with lookup.work("hub connection create"):
        from channels_adapters.registry import adapter_type
        from hub.cli import options
        from hub.models import Connection
        from tenants.context import tenant_scope

        kind = adapter_type(channel)
        ours, theirs = options.split(options.pairs(given["given"], given["files"]), kind.credentials_type)
        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            agent = lookup.agent(tenant, agent_name)
            made = Connection(tenant=tenant, channel=channel, name=given["name"] or kind.name, agent_id=agent.id)
            options.apply(made, ours)
            _seal(made, theirs)
            _save(made, {}, theirs, new=True)
            values = _shown(made)
    output.result(values, _created(values))


@command.command("set", epilog=examples("hub connection set site --tenant acme --set debounce_ms=300"))
@_named
@click.option("--agent", "agent_name", shell_complete=arguments.agents, help="Who answers from now on.")
@_settings
@with_output
def set_(output: Output, named: str, slug: str, agent_name: str | None, **given: Any) -> None:
    """Change the connection NAMED (its id, public id or name); what is not given stays."""
    with lookup.work("hub connection set"):
        from channels_adapters.registry import adapter_type
        from hub.audited import connection_state
        from hub.cli import options
        from hub.pipeline.connections import open_credentials
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.connection(tenant, named)
            kind, before = adapter_type(found.channel), connection_state(found)
            ours, theirs = options.split(options.pairs(given["given"], given["files"]), kind.credentials_type)
            options.apply(found, ours)
            if agent_name is not None:
                found.agent_id = lookup.agent(tenant, agent_name).id
            if theirs:
                _seal(found, {**open_credentials(lookup.vault(), found), **theirs})
            _save(found, before, theirs, new=False)
            values = _shown(found)
    output.result(values, _("connection {name} is changed; running processes follow within 5 seconds", name=found.name))


@command.command("list", epilog=examples("hub connection list --tenant acme"))
@arguments.tenant
@with_output
def list_(output: Output, slug: str) -> None:
    """List a tenant's connections."""
    with lookup.work("hub connection list"):
        from hub.models import Connection
        from tenants.context import tenant_scope

        with tenant_scope(lookup.tenant(slug).id):
            found = [_shown(one) for one in Connection.objects.order_by("id")]
    rows = [(one["channel"], one["name"], State(str(one["status"])), one["webhook_path"]) for one in found]
    empty = _("no connections yet: hub connection create CHANNEL --tenant {slug} --agent NAME", slug=slug)
    heads = (_("CHANNEL"), _("NAME"), _("STATUS"), _("WEBHOOK"))
    output.result({"connections": found}, table(heads, rows, empty=empty))


@command.command(epilog=examples("hub connection show site --tenant acme"))
@_named
@with_output
def show(output: Output, named: str, slug: str) -> None:
    """Show the connection NAMED: its settings, its addresses and how it is; never a secret."""
    with lookup.work("hub connection show"):
        from hub.env import env
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.connection(tenant, named)
            values = {
                **_shown(found),
                "webhook": f"{env().site_url}{found.webhook_path}",
                "status_detail": found.status_detail,
                "last_event_at": found.last_event_at.isoformat() if found.last_event_at else None,
                "created": found.created.isoformat(),
            }
    lines = [bold(_("{name} ({kind})", name=found.name, kind=found.channel)) + " " + paint(State(str(found.status)))]
    shown = {**values, "status": State(str(found.status)), "status_detail": Phrase(found.status_detail)}
    output.result(values, "\n".join([*lines, *fields(shown)]))


@command.command(epilog=examples("hub connection pause site --tenant acme"))
@_named
@with_output
def pause(output: Output, named: str, slug: str) -> None:
    """Take and send nothing on the connection NAMED until it is resumed; what waits keeps waiting."""
    _switch(output, slug, named, status="paused", detail=marked("by an operator"))


@command.command(epilog=examples("hub connection resume site --tenant acme"))
@_named
@with_output
def resume(output: Output, named: str, slug: str) -> None:
    """Take and send messages on the connection NAMED again."""
    _switch(output, slug, named, status="active", detail="")


_SWITCHED = {
    "paused": marked("connection {name} is paused; running processes follow within 5 seconds"),
    "active": marked("connection {name} is active; running processes follow within 5 seconds"),
}


def _switch(output: Output, slug: str, named: str, *, status: str, detail: str) -> None:
    with lookup.work(f"hub connection: {status}"):
        from django.db import transaction

        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id), transaction.atomic():
            found = lookup.connection(tenant, named)
            before = {"status": str(found.status)}
            found.status, found.status_detail = status, detail
            found.save(update_fields=["status", "status_detail", "updated"])
            verb = "resumed" if status == "active" else status
            audit.record(tenant.id, f"connection.{verb}", subject=found, before=before, after={"status": status})
            values = _shown(found)
    output.result(values, _(_SWITCHED[status], name=found.name))


@command.command(epilog=examples("hub connection delete old-bot --tenant acme --yes"))
@_named
@arguments.yes
@with_output
def delete(output: Output, named: str, slug: str, yes: bool) -> None:  # noqa: FBT001 - click's flag
    """Delete the connection NAMED for good, with its conversations. To keep those, pause it instead."""
    with lookup.work("hub connection delete"):
        from django.db import transaction

        from hub.models import Session
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.connection(tenant, named)
            held = Session.objects.filter(connection_id=found.id).count()
            question = _(
                "delete {name} ({channel}) and its {count} conversations for good?",
                name=found.name,
                channel=found.channel,
                count=held,
            )
            output.confirm(question, yes=yes)
            values = {**_shown(found), "sessions": held}
            with transaction.atomic():
                audit.record(tenant.id, "connection.deleted", subject=found, before={"sessions": held})
                found.delete()
    output.result(values, _("connection {name} and {count} conversations are deleted", name=values["name"], count=held))


@command.command(epilog=examples("hub connection test site --tenant acme"))
@_named
@with_output
def test(output: Output, named: str, slug: str) -> None:
    """Ask the platform whether the credentials of the connection NAMED work."""
    with lookup.work("hub connection test"):
        from hub.pipeline.connections import open_credentials
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.connection(tenant, named)
            values = open_credentials(lookup.vault(), found)
        ok, detail, identity = asyncio.run(_probe(found, values))
    if not ok:
        raise CommandFailed(
            "{name} ({channel}) does not work: {detail}", name=found.name, channel=found.channel, detail=detail
        )
    shown = {**_shown(found), "ok": ok, "detail": detail, "identity": identity}
    told = {"name": found.name, "channel": found.channel, "detail": detail, "identity": identity}
    works = _("{name} ({channel}) works as {identity}: {detail}", **told)
    output.result(shown, works if identity else _("{name} ({channel}) works: {detail}", **told))


async def _probe(row: "Connection", values: dict[str, Any]) -> tuple[bool, Words, str]:
    """Whether it works, what the platform says, and as whom; a channel without a way to ask counts as working."""
    from channels_adapters.errors import ChannelError
    from hub.cli.probing import adapter_of

    async with adapter_of(row, values) as adapter:
        if type(adapter).probe is _base_probe():
            return True, Phrase("the stored credentials are complete; this channel offers no way to ask"), ""
        try:
            async with asyncio.timeout(30):
                answer = await adapter.probe()
        except ChannelError as refused:
            return False, refused.detail or type(refused).__name__, ""
        except TimeoutError:
            return False, Phrase("no answer within {seconds:g} s", seconds=30), ""
    return answer.ok, Phrase(answer.detail), answer.identity


def _base_probe() -> object:
    from channels_adapters.base import ChannelAdapter

    return ChannelAdapter.probe


def _save(row: "Connection", before: dict[str, Any], theirs: dict[str, Any], *, new: bool) -> None:
    """Store it with its entry in the audit trail; of what the channel asked for only the names are in it."""
    from django.db import transaction

    from hub.audited import HIDDEN, compared, connection_state

    old, now = compared(before, connection_state(row))
    with transaction.atomic():
        row.save(force_insert=new)
        verb = "connection.created" if new else "connection.changed"
        after = {**now, **dict.fromkeys(theirs, HIDDEN)}
        audit.record(row.tenant_id, verb, subject=row, before=old, after=after)


def _seal(row: "Connection", values: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from hub.cli import refusals
    from hub.pipeline.connections import seal_credentials

    try:
        seal_credentials(lookup.vault(), row, values)
    except ValidationError as wrong:
        raise CommandFailed("{channel}: {faults}", channel=row.channel, faults=refusals.fields(wrong)) from None


def _shown(row: "Connection") -> dict[str, object]:
    return {
        "id": str(row.id),
        "public_id": row.public_id,
        "webhook_path": row.webhook_path,
        "channel": row.channel,
        "name": row.name,
        "agent_id": str(row.agent_id),
        "status": row.status,
        **{name: getattr(row, name) for name in _OPTIONS},
    }


def _created(values: dict[str, object]) -> str:
    from hub.env import env

    address = fields({"webhook": f"{env().site_url}{values['webhook_path']}"})
    return "\n".join([_("connection {name} is created", name=values["name"]), *address])
