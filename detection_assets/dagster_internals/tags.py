"""The names of Dagster's tags that are read or written, and of hidden tags of our own.

Belongs here: every name that begins with `dagster/` or `.dagster/`. Dagster's pages do not show tags that begin with
`.dagster/`. Our visible tags, `touchline/...`, stand where they are used.
https://docs.dagster.io/guides/build/assets/metadata-and-tags/tags
"""

from typing import Final

PRIORITY_TAG: Final = "dagster/priority"
"""Of a run: those with the higher number leave the queue first."""
PARTITION_TAG: Final = "dagster/partition"
"""Of a run: the key of its partition."""
PARENT_RUN_TAG: Final = "dagster/parent_run_id"
"""Of a run: the id of the run that it re-executes."""
RUN_KEY_TAG: Final = "dagster/run_key"
"""Of a run that a sensor asked for: the run key of the request."""
RETRY_STRATEGY_TAG: Final = "dagster/retry_strategy"
"""Of a job: which steps a retry of its runs does again."""
DATA_VERSION_TAG: Final = "dagster/data_version"
"""Of a materialization: the data version of what was made."""
INPUT_POINTER_TAG: Final = "dagster/input_event_pointer"
"""Of a materialization, followed by `/` and an asset's name: the storage id of that asset's materialization that was
read. Dagster writes it for the newest one; https://github.com/dagster-io/dagster/issues/21436 asks for a public way to
name another."""
LAUNCHER_TAG: Final = ".dagster/grpc_info"
"""Of a run: the code server that has launched it, as JSON with `host` and either `port` or `socket`."""
PROCESS_TAG: Final = ".dagster/touchline/process"
"""Of a run, ours: the process that does it."""
