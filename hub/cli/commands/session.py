"""`hub session`: conversations, as an operator reads them."""

from typing import TYPE_CHECKING, Any

import click

from hub.cli import arguments, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import SPEAKERS, State, bold, dim, paint, safe, table
from hub.cli.words import _, told

if TYPE_CHECKING:
    from hub.models import Message, Session


@click.group(
    cls=Group,
    epilog=examples(
        "hub session list --tenant acme",
        "hub session show 0199… --tenant acme",
        "hub session show 0199… --tenant acme --json | jq -r '.messages[].text'",
    ),
)
def command() -> None:
    """List conversations and show their transcripts, in the clear."""


@command.command("list", epilog=examples("hub session list --tenant acme --limit 10"))
@arguments.tenant
@click.option("--connection", "named", shell_complete=arguments.connections, help="Only this connection's.")
@arguments.limit
@with_output
def list_(output: Output, slug: str, named: str | None, limit: int) -> None:
    """List a tenant's conversations, the latest first."""
    with lookup.work("hub session list"):
        from hub.models import Session
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            rows = Session.objects.select_related("connection").order_by("-last_inbound_at", "-id")
            if named is not None:
                rows = rows.filter(connection_id=lookup.connection(tenant, named).id)
            found = [_shown(one) for one in rows[:limit]]
    lines = [
        (
            one["id"],
            one["connection"],
            one["messages"],
            State(one["state"]),
            (one["last_inbound_at"] or "")[:19],
            one["title"],
        )
        for one in found
    ]
    heads = (_("SESSION"), _("CONNECTION"), _("MESSAGES"), _("STATE"), _("LAST MESSAGE"), _("TITLE"))
    output.result({"sessions": found}, table(heads, lines, empty=_("nobody has written yet")))


@command.command(epilog=examples("hub session show 0199… --tenant acme --limit 200"))
@click.argument("session")
@arguments.tenant
@arguments.limit
@with_output
def show(output: Output, session: str, slug: str, limit: int) -> None:
    """Show the latest messages of SESSION, oldest first."""
    with lookup.work("hub session show"):
        from hub.models import Message, Session
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = Session.objects.select_related("connection").filter(id=lookup.need_uuid(session, "session")).first()
            if found is None:
                raise CommandFailed(
                    "tenant {slug!r} has no session {id}; see: hub session list --tenant {slug}", slug=slug, id=session
                )
            rows = Message.objects.filter(session_id=found.id).order_by("-seq")[:limit]
            messages = [_message(one) for one in reversed(rows)]
            values = {**_shown(found), "messages": messages}
    head = safe(_("{name}: {title}", name=values["connection"], title=values["title"] or values["id"]))
    output.result(values, "\n".join([bold(head), *(_line(one) for one in messages)]))


def _shown(row: "Session") -> dict[str, Any]:
    from hub.pipeline.reading import session_title

    return {
        "id": str(row.id),
        "connection": row.connection.name,
        "connection_id": str(row.connection_id),
        "subject_id": str(row.subject_id),
        "messages": row.last_seq,
        "state": "running" if row.turn_id else "due" if row.due_turns else row.owner,
        "unsettled": row.unsettled,
        "last_inbound_at": row.last_inbound_at.isoformat() if row.last_inbound_at else None,
        "title": session_title(row),
    }


def _message(row: "Message") -> dict[str, Any]:
    from hub.pipeline.reading import message_body

    body = message_body(row)
    return {
        "seq": row.seq,
        "role": row.role,
        "status": row.status,
        "reason": row.reason,
        "name": body.sender_name if body else "",
        "text": body.text if body else None,
        "attachments": len(body.attachments) if body else 0,
        "turn_id": str(row.turn_id) if row.turn_id else None,
        "created": row.created.isoformat(),
    }


def _line(one: dict[str, Any]) -> str:
    speaker = safe(one["name"] or told(SPEAKERS.get(one["role"], one["role"])))
    who = click.style(speaker, fg="green" if one["role"] == "assistant" else "cyan", bold=True)
    text = click.style(_("(cannot be read)"), fg="red") if one["text"] is None else safe(one["text"])
    more = f" [{_('{count} files', count=one['attachments'])}]" if one["attachments"] else ""
    why = f" {paint(State(one['status']))} {one['reason']}" if one["status"] == "refused" else ""
    return f"{dim(one['created'][:19].replace('T', ' '))} {who}{why}{dim(more)}  {text}"
