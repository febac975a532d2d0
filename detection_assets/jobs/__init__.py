"""Jobs of Dagster's runs: their status, their processes, and how they are continued."""
