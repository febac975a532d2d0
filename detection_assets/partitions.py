"""The partitions: one per source, added as sources are registered.

Belongs here: the definition. Keys are made in `touchline/library/naming.py`.
https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

import dagster as dg

sources = dg.DynamicPartitionsDefinition(name="sources")
"""Dynamic partitions; a key is `slug-hash8` of a source's path in the library. Frames are not partitions."""
