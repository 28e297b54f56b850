"""OpenRLHF without a GPU: slow, and the same code paths. `hooks` says what is replaced."""
