"""The partitions: one a source asset, added while the library grows.

Belongs here: the definition alone. Keys are made in `touchline/library/naming.py`.
https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

import dagster as dg

sources = dg.DynamicPartitionsDefinition(name="sources")
"""Keys are `slug-hash8` of a source's path in the library. Frames are never partitions."""
