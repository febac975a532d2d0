"""The steps from one version of Touchline's tables to the next, for Alembic.

Belongs here: `env.py` and one file a step in `versions/`. A step that has been released is never changed. Dagster's
tables in the same database are not ours and are not looked at.
"""
