"""Jobs as Dagster's runs make them: their status, and what becomes of it."""
