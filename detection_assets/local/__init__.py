"""Runs in a command's own process, and in a pool of worker processes."""
