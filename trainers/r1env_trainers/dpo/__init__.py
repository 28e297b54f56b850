"""Direct preference optimization: a policy learns preference pairs without a reward model."""
