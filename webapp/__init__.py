"""What a browser meets: one guard before Dagster's pages and before Touchline's own, on one port."""
