"""The trainer `evaluate`: trains nothing, measures models side by side and leaves a table."""
