"""`python -m clis_cli` is `clis`."""

from clis_cli.app import main

main()
