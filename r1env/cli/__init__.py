"""The command line: thin shells over the library, one file a command. `main` assembles them."""
