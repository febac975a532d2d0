"""The checkpoint IO manager and the values that pass through it."""
