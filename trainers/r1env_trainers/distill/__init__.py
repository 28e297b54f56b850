"""Distillation: a student learns from a teacher, off-policy from its samples or on-policy from its distribution."""
