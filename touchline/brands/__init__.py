"""Known brands and the matching of readings against them.

Belongs here: the registry of brands (`registry.py`), lists of them (`brand_csv.py`, `sponsors.csv`), folding of text
(`text.py`), the similarity of texts under a recogniser's errors (`likeness.py`), the matcher (`matcher.py`), the
surroundings of a reading (`surroundings.py`, `graphics.py`), scripts (`scripts.py`) and suggestions (`suggest.py`).
The vote over a track's readings is in `touchline/stages/match_brands.py`.
"""

from touchline.brands.brand_csv import csv_line
from touchline.brands.matcher import BrandMatcher, Match, matcher_of
from touchline.brands.registry import BrandBook, BrandEntry, brand_id, content_of, parse, read_csv, shipped
from touchline.brands.text import fold, is_noise

__all__ = [
    "BrandBook",
    "BrandEntry",
    "BrandMatcher",
    "Match",
    "brand_id",
    "content_of",
    "csv_line",
    "fold",
    "is_noise",
    "matcher_of",
    "parse",
    "read_csv",
    "shipped",
]
