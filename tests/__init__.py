"""Tests, one file an area. They use real servers, real OCR and a real Dagster instance."""
