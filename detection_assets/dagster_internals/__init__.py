"""Everything of Dagster's that it does not promise to keep, so that an upgrade of Dagster is a matter of this folder.

Belongs here: imports below `dagster._...`, attributes that Dagster does not mark `@public`, and the names of its tags.
Each module is for one purpose. `tests/unit/test_dagster_internals.py` asks Dagster whether each name is still what it
was; the same test finds uses outside this folder.
"""
