"""`hub completion`: what a shell needs to complete commands, options, and names of tenants, agents and connections."""

import click

from hub.cli.helping import Command, examples
from hub.cli.output import CommandFailed, Output, with_output
from hub.phrase import marked

_INSTALL = {
    "bash": "hub completion bash > ~/.local/share/bash-completion/completions/hub",
    "zsh": "hub completion zsh > ~/.zfunc/_hub",
    "fish": "hub completion fish > ~/.config/fish/completions/hub.fish",
}
_BESIDES = {"zsh": marked("with fpath+=~/.zfunc before compinit")}


@click.command(cls=Command, epilog=examples(*((line, _BESIDES.get(shell, "")) for shell, line in _INSTALL.items())))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@with_output
def command(output: Output, shell: str) -> None:
    """Print the completion script of SHELL.

    Names of tenants, connections and agents are completed where the database answers at once; nothing is started.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from hub.cli.root import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise CommandFailed("there is no completion for {shell}", shell=shell)
    # The base class's: bash's own would start a bash here to ask for its version.
    script = ShellComplete.source(kind(cli, {}, "hub", "_HUB_COMPLETE"))
    output.result({"shell": shell, "install": _install(shell), "script": script}, script)


def _install(shell: str) -> str:
    besides = _BESIDES.get(shell)
    return f"{_INSTALL[shell]}      ({besides})" if besides else _INSTALL[shell]
