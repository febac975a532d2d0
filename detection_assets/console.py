"""What runs tell the terminal under which they work: warnings and faults. Everything is in the run's own log.

Belongs here: this one logger. Dagster's own tells every event, some hundred a run.
"""

import logging

import dagster as dg
from dagster import InitLoggerContext, colored_console_logger


@dg.logger(
    config_schema={
        "log_level": dg.Field(str, is_required=False, default_value="WARNING"),
        "name": dg.Field(str, is_required=False, default_value="dagster"),
    },
    description="The terminal.",
)
def console(context: InitLoggerContext) -> logging.Logger:
    """Dagster's coloured logger, at another level by default."""
    return colored_console_logger.logger_fn(context)
