"""Upkeep of the library: uploads taken in and asked for again, sources retired, garbage collected."""
