"""Run folders: what a training leaves behind, and what resuming and reports read."""
