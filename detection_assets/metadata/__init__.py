"""Metadata of materializations: numbers, tables, pictures, provenance."""
