"""Python imports this at its start in every process that has this folder in PYTHONPATH."""

from r1env_trainers.openrlhf.cpu.hooks import install

install()
