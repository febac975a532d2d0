"""Tests on real servers, Dagster instances, processes and terminals."""
