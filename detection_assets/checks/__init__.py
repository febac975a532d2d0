"""The asset checks: frames, stored outputs, brands and exposure of each source, and the library as a whole."""

from detection_assets.checks import blobs, brands, exposure, frames, library
from detection_assets.checks.library import LIBRARY, LIBRARY_CHECK

CHECKS = (*frames.CHECKS, *blobs.CHECKS, *brands.CHECKS, *exposure.CHECKS, *library.CHECKS)

__all__ = ["CHECKS", "LIBRARY", "LIBRARY_CHECK"]
