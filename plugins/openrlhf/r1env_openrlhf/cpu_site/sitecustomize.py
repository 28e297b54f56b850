"""Python imports this at its start in every process that has this folder in PYTHONPATH."""

from r1env_openrlhf.cpu import install

install()
