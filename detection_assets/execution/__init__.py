"""Stages as Dagster runs them: which there are, and one stage on one source."""
