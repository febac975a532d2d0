"""Names of Dagster's tags that Touchline reads or writes, and of its own hidden tags.

Belongs here: every name that begins with `dagster/` or `.dagster/`. Dagster's pages hide tags that begin with
`.dagster/`. Touchline's visible tags, `touchline/...`, are defined where they are used.
https://docs.dagster.io/guides/build/assets/metadata-and-tags/tags
"""

from typing import Final

PRIORITY_TAG: Final = "dagster/priority"
"""Tag of a run: its priority in the queue, higher first."""
PARTITION_TAG: Final = "dagster/partition"
"""Tag of a run: its partition key."""
PARENT_RUN_TAG: Final = "dagster/parent_run_id"
"""Tag of a run: the id of the run that it re-executes."""
RUN_KEY_TAG: Final = "dagster/run_key"
"""Tag of a run that a sensor requested: the run key of the request."""
RETRY_STRATEGY_TAG: Final = "dagster/retry_strategy"
"""Tag of a job: which steps a retry of its runs executes."""
DATA_VERSION_TAG: Final = "dagster/data_version"
"""Tag of a materialization: its data version."""
INPUT_POINTER_TAG: Final = "dagster/input_event_pointer"
"""Prefix of a tag of a materialization, followed by `/` and an asset's name: the storage id of that asset's
materialization that was read. Dagster sets it to the newest one. https://github.com/dagster-io/dagster/issues/21436
asks for a public way to name another."""
LAUNCHER_TAG: Final = ".dagster/grpc_info"
"""Tag of a run: the code server that launched it, as JSON with `host` and either `port` or `socket`."""
PROCESS_TAG: Final = ".dagster/touchline/process"
"""Touchline's tag of a run: the process that executes it, as JSON."""
