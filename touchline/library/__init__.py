"""The library: database tables, and the rules for naming, uploads and retention. Only this package knows tables."""
