"""Models by name: a tiny one made from scratch, SmolLM2 from its wheel, and any folder or hub name."""
