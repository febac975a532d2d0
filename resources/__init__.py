"""Clients of the servers, embedded servers, models, and the Dagster resources for them."""
