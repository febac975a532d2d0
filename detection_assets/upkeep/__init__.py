"""Maintenance of the library: ingesting uploads, retiring sources, collecting garbage."""
