"""`python -m r1env` is the program `r1env`."""

from r1env.cli.main import main

main()
