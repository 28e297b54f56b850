"""Rejection sampling: several completions a prompt, of which the right and readable ones become demonstrations."""
