"""Alembic migrations of Touchline's tables.

Belongs here: `env.py`, and one revision a file in `versions/`. A released revision is never changed. Dagster's tables
in the same database are ignored.
"""
