"""The `hub` command."""


def main() -> None:
    """Run the command line; imports wait until here, so that `import hub.cli` costs nothing."""
    from hub.cli.root import run

    run()
