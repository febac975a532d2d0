"""Known brands and the matching of readings against them.

Belongs here: the registry of brands (`registry.py`, `sponsors.csv`), folding of text (`text.py`), likeness with a
recogniser's errors in mind (`likeness.py`) and the matcher (`matcher.py`). Votes of a track are in
`touchline/stages/match_brands.py`.
"""

from touchline.brands.matcher import BrandMatcher, Match, matcher_of
from touchline.brands.registry import BrandBook, BrandEntry, brand_id, read_csv, shipped
from touchline.brands.text import fold, is_noise

__all__ = [
    "BrandBook",
    "BrandEntry",
    "BrandMatcher",
    "Match",
    "brand_id",
    "fold",
    "is_noise",
    "matcher_of",
    "read_csv",
    "shipped",
]
