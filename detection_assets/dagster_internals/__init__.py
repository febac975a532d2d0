"""Every use of Dagster's private parts, so that an upgrade of Dagster is a matter of this folder."""
