"""The eight nodes and the report, one file each: settings, work and documents, from top to bottom."""
