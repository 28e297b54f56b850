"""Programs that run inside the containers, sent there as text, and `plain`, which both sides use. Standard library only."""
