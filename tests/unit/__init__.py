"""Tests of plain functions: no server, no Dagster instance."""
