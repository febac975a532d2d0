"""A pinhole camera over the pitch, and the homographies between planes of the stadium and pictures.

Belongs here: projective geometry alone. World axes in metres: X along the touchline to the right as seen from the
camera (0 at the halfway line), Y away from the camera (0 at the near touchline), Z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

POSITION: Final = np.array([0.0, -38.0, 16.0])
"""Where the main camera stands: on the halfway line, in the main stand."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at `POSITION` turned `pan` degrees right and `tilt` degrees down; `focal` in pixels."""

    pan: float
    tilt: float
    focal: float
    width: int
    height: int

    @property
    def rotation(self) -> Array:
        """3 x 3, world to camera; rows: right, down, forward."""
        pan, tilt = radians(self.pan), radians(self.tilt)
        right = [cos(pan), -sin(pan), 0.0]
        down = [-sin(tilt) * sin(pan), -sin(tilt) * cos(pan), -cos(tilt)]
        forward = [sin(pan) * cos(tilt), cos(pan) * cos(tilt), -sin(tilt)]
        return np.array([right, down, forward])

    @property
    def intrinsics(self) -> Array:
        """3 x 3, camera rays to pixels."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])

    def project(self, points: ArrayLike) -> Array:
        """World points, N x 3 [m], to pixels, N x 2. Points must lie in front of the camera."""
        rays = (np.atleast_2d(np.asarray(points, float)) - POSITION) @ self.rotation.T @ self.intrinsics.T
        pixels: Array = rays[:, :2] / rays[:, 2:]
        return pixels

    def scale_at(self, point: ArrayLike) -> float:
        """Pixels per metre, across the line of sight, at a world point."""
        depth = (np.asarray(point, float) - POSITION) @ self.rotation[2]
        return float(self.focal / depth)

    def plane(self, origin: ArrayLike, across: ArrayLike, down: ArrayLike) -> Array:
        """3 x 3 homography from texture pixels (u, v) at world point origin + u across + v down to the picture."""
        columns = np.stack([np.asarray(across, float), np.asarray(down, float), np.asarray(origin, float) - POSITION])
        homography: Array = self.intrinsics @ self.rotation @ columns.T
        return homography

    def to(self, other: Camera) -> Array:
        """3 x 3 homography from this camera's picture to another's: both stand at one place, so no depth is needed."""
        homography: Array = other.intrinsics @ other.rotation @ self.rotation.T @ np.linalg.inv(self.intrinsics)
        return homography
