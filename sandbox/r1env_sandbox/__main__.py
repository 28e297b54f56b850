"""`python -m r1env_sandbox` is the program `r1env-sandbox`."""

from r1env_sandbox.cli import main

main()
