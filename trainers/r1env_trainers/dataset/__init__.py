"""Writing a data set: what a function makes of the tasks of environments, as JSON lines for later stages."""
