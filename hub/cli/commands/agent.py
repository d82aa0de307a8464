"""`hub agent`: who answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from hub.cli import lookup
from hub.cli.output import CommandFailed, Output, with_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.models import Agent


@click.group()
def command() -> None:
    """Create, list and change agents."""


def _options(function: "Callable[..., Any]") -> "Callable[..., Any]":
    """What both `create` and `set` take."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        click.option("--tenant", "slug", required=True, help="The tenant it belongs to."),
        click.option("--model-url", help="An OpenAI-compatible endpoint; without one the hub's own is used."),
        click.option("--model", help="The model's name at that endpoint."),
        click.option("--model-key", help="The endpoint's API key; sealed when stored."),
        click.option("--provider", default="openai", show_default=True, help="The dialect of the endpoint."),
        click.option("--prompt", help="What the agent is told about itself."),
        click.option("--prompt-file", type=file, help="The same from a file."),
        click.option("--language", help="The language it answers in; otherwise the person's."),
        click.option("--tool", "tools", multiple=True, help="A built-in tool it may use; repeat for several."),
        click.option("--memory", multiple=True, metavar="KEY=VALUE", help="A memory setting, such as rounds=20."),
    ):
        function = option(function)
    return function


@command.command()
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
                raise CommandFailed(f"tenant {slug!r} has an agent {name!r} already; change it with: hub agent set")
            made = Agent(tenant=tenant, name=name)
            _apply(made, given)
            made.save(force_insert=True)
            values = _shown(made)
    output.result(
        values, f"agent {name} is created; next: hub connection create CHANNEL --tenant {slug} --agent {name}"
    )


@command.command("set")
@click.argument("name")
@_options
@with_output
def set_(output: Output, name: str, slug: str, **given: Any) -> None:
    """Change the agent NAME; turns that run keep the version they began with."""
    with lookup.work("hub agent set"):
        from tenants.context import tenant_scope

        tenant = lookup.tenant(slug)
        with tenant_scope(tenant.id):
            found = lookup.agent(tenant, name)
            _apply(found, given)
            found.save()
            values = _shown(found)
    output.result(values, f"agent {name} is now version {found.version}")


@command.command("list")
@click.option("--tenant", "slug", required=True)
@with_output
def list_(output: Output, slug: str) -> None:
    """List a tenant's agents."""
    with lookup.work("hub agent list"):
        from agents.models import Agent
        from tenants.context import tenant_scope

        with tenant_scope(lookup.tenant(slug).id):
            found = [_shown(one) for one in Agent.objects.order_by("name")]
    lines = [f"{one['name']:<24} version {one['version']:<4} {one['model'] or 'the hub’s model'}" for one in found]
    output.result({"agents": found}, "\n".join(lines) or f"no agents yet: hub agent create NAME --tenant {slug}")


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


def _policy(pairs: tuple[str, ...]) -> dict[str, object]:
    """Memory settings of their own types; an unknown name is refused by the agent itself."""
    from memory.types import Policy

    found: dict[str, object] = {}
    for pair in pairs:
        name, parted, text = pair.partition("=")
        if not parted:
            raise CommandFailed(f"--memory {pair!r}: expected KEY=VALUE")
        default = getattr(Policy(), name, "")
        try:
            found[name] = _like(default, text)
        except ValueError:
            raise CommandFailed(f"--memory {name}: expected {type(default).__name__}") from None
    return found


def _like(default: object, text: str) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError("neither true nor false")
        return text.lower() == "true"
    return int(text) if isinstance(default, int) else text


def _shown(agent: "Agent") -> dict[str, object]:
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
