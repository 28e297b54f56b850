"""Where tasks come from: `sources` (task sources, files, mixing and epochs)."""
