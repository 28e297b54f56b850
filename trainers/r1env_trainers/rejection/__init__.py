"""Rejection sampling: of several completions per prompt, the correct and readable ones become demonstrations."""
