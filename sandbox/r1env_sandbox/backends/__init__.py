"""Where containers come from: a Docker engine, or bubblewrap where there is none."""
