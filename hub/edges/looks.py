"""What a page needs to look right, from the connection's options; the same before a socket and in its welcome."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from agents.errors import AgentUnknown
from channels_adapters.platforms.web import FormField, WebCredentials, read_logo
from hub.edges.frames import MAX_ATTACHMENTS
from hub.edges.guard import Refused
from hub.pipeline.connections import LiveConnection
from hub.pipeline.errors import Unavailable
from hub.pipeline.inbox import AWAY

if TYPE_CHECKING:
    from hub.runtime import Runtime

MAX_VALUE: Final = {"text": 200, "email": 254, "tel": 40, "long": 2000, "choice": 200}


def options_of(connection: LiveConnection) -> WebCredentials:
    """The connection's options."""
    options = connection.adapter.credentials
    assert isinstance(options, WebCredentials)  # noqa: S101 (only web connections come through these doors)
    return options


async def settings_of(runtime: "Runtime", connection: LiveConnection) -> dict[str, Any]:
    """The settings as the protocol has them."""
    options = options_of(connection)
    try:
        agent = (await runtime.agents.spec(connection.tenant_id, connection.agent_id)).name
    except AgentUnknown:
        agent = ""
    except AWAY as error:
        raise Unavailable from error
    uploads = {"max_bytes": max_bytes(options), "max_files": MAX_ATTACHMENTS, "types": options.upload_types.split()}
    return {
        "title": options.title,
        "agent": agent,
        "greeting": options.greeting,
        "suggestions": [line.strip() for line in options.suggestions.splitlines() if line.strip()],
        "language": options.language,
        "colour": options.colour.lower(),
        "theme": options.theme,
        "logo": logo_address(connection.public_id, options.logo),
        "position": options.position,
        "form": [_question(field) for field in options.fields],
        "remote_images": options.remote_images,
        "identity": bool(options.identity_secret.get_secret_value()),
        "uploads": uploads if options.uploads else None,
    }


def max_bytes(options: WebCredentials) -> int:
    """The largest file."""
    return options.upload_megabytes << 20


def logo_address(public_id: str, logo: str) -> str:
    """Where the logo is fetched; another logo has another address."""
    return f"/sse/chat/{public_id}/logo?v={_print(logo)}" if logo else ""


def logo_of(connection: LiveConnection) -> tuple[str, bytes]:
    """The logo's media type and bytes. Raises Refused (404)."""
    logo = options_of(connection).logo
    if not logo:
        raise Refused(404, "not_found", "there is no logo")
    return read_logo(logo)


def check_form(options: WebCredentials, given: Mapping[str, str], *, asked: bool) -> dict[str, str]:
    """The answers that the form asks for, trimmed; others are left out. Raises Refused (400) naming the field."""
    found: dict[str, str] = {}
    for field in options.fields:
        value = given.get(field.name, "").strip()
        if not value:
            if field.required and asked:
                raise Refused(400, "form_required", f"{field.label} is required", param=field.name)
            continue
        if not _fits(field, value):
            raise Refused(400, "form_invalid", f"{field.label} is not valid", param=field.name)
        found[field.name] = value
    return found


def _fits(field: FormField, value: str) -> bool:
    if len(value) > MAX_VALUE[field.kind]:
        return False
    if field.kind == "email":
        local, at, domain = value.rpartition("@")
        return bool(local and at and "." in domain) and not any(char.isspace() for char in value)
    if field.kind == "tel":
        return sum(char.isdigit() for char in value) >= 3 and all(char.isdigit() or char in "+-() ./" for char in value)
    return field.kind != "choice" or value in field.options


def _question(field: FormField) -> dict[str, Any]:
    return {
        "name": field.name,
        "label": field.label,
        "kind": field.kind,
        "required": field.required,
        "options": list(field.options),
    }


@lru_cache(maxsize=256)
def _print(logo: str) -> str:
    return hashlib.sha256(logo.encode()).hexdigest()[:12]
