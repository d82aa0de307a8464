"""`hub agent`: who answers."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hub.cli import arguments, audit, lookup
from hub.cli.helping import Group, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.cli.terminal import State, bold, fields, table
from hub.cli.words import Phrase, _

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.models import Agent
    from agents.types import ModelRoute


@click.group(
    cls=Group,
    epilog=examples(
        "hub agent create helper --tenant acme --prompt 'You help with orders.'",
        "hub agent set helper --tenant acme --model-url https://api.example.org/v1 --model m1 --model-key sk-…",
        "hub agent test helper --tenant acme",
    ),
)
def command() -> None:
    """Create, list, show, change and test agents."""


def _options(function: "Callable[..., Any]") -> "Callable[..., Any]":
    """What both `create` and `set` take."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        arguments.tenant,
        click.option("--model-url", help="An OpenAI-compatible endpoint; without one the hub's own is used."),
        click.option("--model", help="The model's name at that endpoint."),
        click.option("--model-key", help="The endpoint's API key; sealed when stored."),
        click.option("--provider", default="openai", show_default=True, help="The dialect of the endpoint."),
        click.option("--prompt", help="What the agent is told about itself."),
        click.option("--prompt-file", type=file, metavar="FILE", help="The same from a file."),
        click.option("--language", help="The language it answers in; otherwise the person's."),
        click.option("--tool", "tools", multiple=True, help="A built-in tool it may use; repeat for several."),
        click.option("--memory", multiple=True, metavar="KEY=VALUE", help="A memory setting, such as rounds=20."),
    ):
        function = option(function)
    return function


@command.command(epilog=examples("hub agent create helper --tenant acme --prompt-file prompt.md --memory rounds=20"))
@click.argument("name")
@_options
@with_output
def create(output: Output, name: str, slug: str, **given: Any) -> None:
    """Create the agent NAME; without a model of its own it uses the hub's."""
    with lookup.work("hub agent create"):
        from agents.models import Agent
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            if Agent.objects.filter(name=name).exists():
                raise CommandFailed(
                    "tenant {slug!r} has an agent {name!r} already; change it with: hub agent set", slug=slug, name=name
                )
            made = Agent(tenant=tenant, name=name)
            _apply(made, given)
            _save(made, {}, given, new=True)
            values = _shown(made)
    done = _(
        "agent {name} is created; next: hub connection create CHANNEL --tenant {slug} --agent {name}",
        name=name,
        slug=slug,
    )
    output.result(values, done)


@command.command("set", epilog=examples("hub agent set helper --tenant acme --model m2"))
@click.argument("name", shell_complete=arguments.agents)
@_options
@with_output
def set_(output: Output, name: str, slug: str, **given: Any) -> None:
    """Change the agent NAME; turns that run keep the version they began with."""
    with lookup.work("hub agent set"):
        from hub.audited import agent_state
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.agent(tenant, name)
            before = agent_state(found)
            _apply(found, given)
            _save(found, before, given, new=False)
            values = _shown(found)
    output.result(values, _("agent {name} is now version {version}", name=name, version=found.version))


@command.command("list", epilog=examples("hub agent list --tenant acme"))
@arguments.tenant
@with_output
def list_(output: Output, slug: str) -> None:
    """List a tenant's agents."""
    with lookup.work("hub agent list"):
        from agents.models import Agent
        from tenants.context import tenant_scope

        with tenant_scope(lookup.tenant(slug).id):
            found = [_shown(one) for one in Agent.objects.order_by("name")]
    rows = [
        (one["name"], one["version"], one["model"] or Phrase("the hub’s"), ", ".join(one["tools"])) for one in found
    ]
    empty = _("no agents yet: hub agent create NAME --tenant {slug}", slug=slug)
    heads = (_("NAME"), _("VERSION"), _("MODEL"), _("TOOLS"))
    output.result({"agents": found}, table(heads, rows, empty=empty))


@command.command(epilog=examples("hub agent show helper --tenant acme"))
@click.argument("name", shell_complete=arguments.agents)
@arguments.tenant
@with_output
def show(output: Output, name: str, slug: str) -> None:
    """Show the agent NAME: prompt, model routes, memory and tools; never a key."""
    with lookup.work("hub agent show"):
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.agent(tenant, name)
            values = {**_shown(found), "prompt": found.prompt, "language": found.language, "routes": found.routes}
    lines = [bold(_("{name}, version {version}", name=name, version=found.version))]
    lines += fields({key: values[key] for key in ("model", "model_url", "tools", "memory", "language", "routes")})
    output.result(values, "\n".join([*lines, "", found.prompt or _("(no prompt of its own)")]))


@command.command(epilog=examples("hub agent test helper --tenant acme"))
@click.argument("name", shell_complete=arguments.agents)
@arguments.tenant
@with_output
def test(output: Output, name: str, slug: str) -> None:
    """Ask each model route of the agent NAME for one token; fails where the first route does not answer."""
    with lookup.work("hub agent test"):
        from hub.cli.asking import ask
        from hub.env import env
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.agent(tenant, name)
            routes = _routes(found)
        asked = [asyncio.run(ask(env(), route)) for route in routes]
    rows = [(one.model, one.base_url, State("ok" if one.ok else "failed"), f"{one.ms} ms", one.detail) for one in asked]
    if asked and not asked[0].ok:
        raise CommandFailed("{model} at {base_url}: {detail}; {remedy}", **asdict(asked[0]))
    values = {"name": name, "ok": True, "routes": [{**asdict(one), "ok": one.ok} for one in asked]}
    heads = (_("MODEL"), _("AT"), _("STATE"), _("TOOK"), _("DETAIL"))
    output.result(values, table(heads, rows, empty=_("no model: answers are quoted from memory")))


def _routes(agent: "Agent") -> "list[ModelRoute]":
    """The agent's own routes with their keys, else the hub's."""
    from agents.types import ModelRoute
    from hub.configured import default_route
    from hub.env import env
    from hub.pipeline.reading import route_keys

    keys = [*route_keys(agent), *[""] * len(agent.routes)]
    own = [
        ModelRoute(provider=one["provider"], model=one["model"], base_url=one.get("base_url", ""), api_key=key)
        for one, key in zip(agent.routes, keys, strict=False)
    ]
    hubs = default_route(env())
    return own or ([hubs] if hubs is not None else [])


def _save(agent: "Agent", before: dict[str, Any], given: dict[str, Any], *, new: bool) -> None:
    """Store it with its entry in the audit trail."""
    from django.db import transaction

    from hub.audited import HIDDEN, agent_state, compared

    old, now = compared(before, agent_state(agent))
    if given["model_key"] is not None:
        now["api_key"] = HIDDEN
    with transaction.atomic():
        agent.save(force_insert=new)
        verb = "agent.created" if new else "agent.changed"
        audit.record(agent.tenant_id, verb, subject=agent, before=old, after=now)


def _apply(agent: "Agent", given: dict[str, Any]) -> None:
    """Set what was given and check the whole."""
    for field in ("language", "prompt"):
        if given[field] is not None:
            setattr(agent, field, given[field])
    if given["prompt_file"] is not None:
        agent.prompt = given["prompt_file"].read_text(encoding="utf-8")
    if given["tools"]:
        agent.tools = list(given["tools"])
    if given["memory"]:
        agent.policy = {**agent.policy, **_policy(given["memory"])}
    _apply_model(agent, given)
    agent.full_clean(exclude=["tenant"], validate_unique=False, validate_constraints=False)


def _apply_model(agent: "Agent", given: dict[str, Any]) -> None:
    url, model, key = given["model_url"], given["model"], given["model_key"]
    if not agent.routes and (url or model or key):
        if not (url and model):
            raise CommandFailed("a model of its own needs both --model-url and --model")
        agent.routes = [{"provider": given["provider"]}]
    if url is not None and not url.startswith(("http://", "https://")):
        raise CommandFailed("--model-url: an address starts with https:// or http://")
    if agent.routes:
        changes = {"base_url": url, "model": model}
        first = {**agent.routes[0], **{name: value for name, value in changes.items() if value is not None}}
        agent.routes = [first, *agent.routes[1:]]
    if key is not None:
        _seal_first_key(agent, key)


def _seal_first_key(agent: "Agent", key: str) -> None:
    import orjson

    from tenants.crypto import CellRef

    vault = lookup.vault()
    vault.load_sync(agent.tenant_id)
    keys = [""] * len(agent.routes)
    if agent.credentials is not None:
        cell = CellRef(agent.tenant_id, "credentials", "agent", "credentials", agent.id)
        stored: list[str] = orjson.loads(vault.open(cell, bytes(agent.credentials)))
        keys[: len(stored)] = stored
    keys[0] = key
    agent.seal_keys(vault, keys)


_TYPES = {
    bool: Phrase("expected true or false"),
    int: Phrase("expected a whole number"),
}


def _policy(pairs: tuple[str, ...]) -> dict[str, object]:
    """Memory settings of their own types; an unknown name is refused by the agent itself."""
    from memory.types import Policy

    found: dict[str, object] = {}
    for pair in pairs:
        name, parted, text = pair.partition("=")
        if not parted:
            raise CommandFailed("{option}: expected {form}", option=f"--memory {pair!r}", form="KEY=VALUE")
        default = getattr(Policy(), name, "")
        try:
            found[name] = _like(default, text)
        except ValueError:
            raise CommandFailed("{name}: {reason}", name=f"--memory {name}", reason=_TYPES[type(default)]) from None
    return found


def _like(default: object, text: str) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError("neither true nor false")
        return text.lower() == "true"
    return int(text) if isinstance(default, int) else text


def _shown(agent: "Agent") -> dict[str, Any]:
    first = agent.routes[0] if agent.routes else {}
    return {
        "id": str(agent.id),
        "name": agent.name,
        "version": agent.version,
        "model": first.get("model", ""),
        "model_url": first.get("base_url", ""),
        "tools": agent.tools,
        "memory": agent.policy,
    }
