"""What materializations show in Dagster's pages: numbers, tables, pictures, provenance."""
