"""The command line: one module a subcommand, each with a `main(words)` that returns the exit status."""
