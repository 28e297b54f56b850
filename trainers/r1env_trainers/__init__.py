"""Trainer plugins of r1env: GRPO and SFT in one process. Nothing heavy is imported here."""
