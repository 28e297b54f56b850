"""Run the command line: `python -m r1env` is the same as `r1env`."""

from r1env.cli.main import main

main()
