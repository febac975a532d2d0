"""The embedded servers, Postgres and the object store, and their home folder."""
