"""Servers, storage and models: everything outside the process, and the Dagster resources that give access to it."""
