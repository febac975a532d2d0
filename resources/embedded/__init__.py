"""The embedded servers: Postgres and the object store as child processes, and the home that they live in."""
