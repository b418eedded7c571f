"""`python -m astra.cli`, as the launcher starts the sandbox."""

from astra.cli.commands import main

main()
