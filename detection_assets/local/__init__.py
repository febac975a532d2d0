"""Runs from a command line: the runner of one process, and a pool of worker processes."""
