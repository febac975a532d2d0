"""All uses of Dagster's private API, so that an upgrade of Dagster concerns this folder only.

Belongs here: imports below `dagster._...`, attributes that Dagster does not mark `@public`, and the names of its tags.
`tests/unit/test_dagster_internals.py` checks that each name still exists and that no other folder uses private names.
"""
