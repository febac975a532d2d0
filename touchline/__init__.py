"""Brand detection in soccer broadcast video: the domain, free of Dagster, databases and networks."""
