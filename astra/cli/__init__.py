"""The `astra` command: the composition root. Nothing else imports it."""

from astra.cli.commands import main

__all__ = ["main"]
