"""Ready-made servers, each small enough to be read as an example."""
