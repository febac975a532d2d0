"""What a synthetic broadcast shows, as plain values: sponsors, boards' programme, shots, overlays.

Belongs here: the specification's types and the two that ship, `DEMO` and `CLIP`. How it is drawn is the business of
the other modules of this package.

Lengths are metres on the pitch, focal lengths are multiples of the picture's width, angles are degrees, colours BGR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Message:
    """Text on a coloured board or shirt. `brand` is the sponsor's name, empty for text that is no brand."""

    text: str
    brand: str
    ink: Colour
    ground: Colour


@dataclass(frozen=True, slots=True)
class LedSlot:
    """What the LED row shows from `start_s` until the next slot: the messages in turn, panel after panel."""

    start_s: float
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """One camera from `start_s` until the next shot. A wide one pans and zooms evenly from its first to its last value.

    `pan` is the angle right of the halfway line, `tilt` the angle below the horizon, `focal` the focal length.
    """

    start_s: float
    kind: Literal["wide", "close"]
    pan: tuple[float, float] = (0.0, 0.0)
    tilt: tuple[float, float] = (10.4, 10.4)
    focal: tuple[float, float] = (2.2, 2.2)


@dataclass(frozen=True, slots=True)
class BroadcastSpec:
    """All that `Broadcast` draws. Equal specifications give equal pictures, byte for byte."""

    width: int
    height: int
    fps: int
    duration_s: float
    shots: tuple[Shot, ...]
    led: tuple[LedSlot, ...]
    painted: tuple[Message, ...]
    jersey: Message | None
    teams: tuple[str, str] = ("FAL", "ORI")
    shirts: tuple[Colour, Colour] = ((38, 30, 190), (235, 235, 235))
    score: tuple[int, int] = (1, 0)
    clock_s: int = 1421
    channel: str = "TLTV"
    overlay_sponsor: Message | None = None
    players: int = 22
    motion_blur: bool = True
    grain: float = 1.5
    crf: int = 23
    seed: int = 7

    @property
    def frames(self) -> int:
        """Number of frames."""
        return round(self.duration_s * self.fps)


WHITE: Final = (250, 250, 250)
HEINEKEN: Final = Message("Heineken", "Heineken", WHITE, (45, 110, 15))
QATAR_AIRWAYS: Final = Message("QATAR AIRWAYS", "Qatar Airways", WHITE, (60, 15, 95))
MASTERCARD: Final = Message("mastercard", "Mastercard", WHITE, (28, 28, 30))
PEPSI: Final = Message("PEPSI", "Pepsi", WHITE, (165, 60, 10))
ADIDAS: Final = Message("ADIDAS", "Adidas", (25, 25, 25), (240, 240, 240))
TURKISH_AIRLINES: Final = Message("TURKISH AIRLINES", "Turkish Airlines", WHITE, (38, 30, 190))
TICKETS: Final = Message("TICKETS ON SALE NOW", "", (30, 30, 30), (60, 205, 245))

DEMO: Final = BroadcastSpec(
    width=1280,
    height=720,
    fps=25,
    duration_s=24.0,
    shots=(
        Shot(0.0, "wide", pan=(-11.0, 9.0), focal=(2.3, 2.7)),
        Shot(13.0, "close"),
        Shot(17.0, "wide", pan=(10.0, -2.0), tilt=(9.9, 9.9), focal=(3.0, 2.6)),
    ),
    led=(
        LedSlot(0.0, (HEINEKEN,)),
        LedSlot(5.0, (QATAR_AIRWAYS,)),
        LedSlot(10.0, (TICKETS,)),
        LedSlot(17.0, (MASTERCARD,)),
        LedSlot(20.6, (PEPSI,)),
    ),
    painted=(ADIDAS,),
    jersey=TURKISH_AIRLINES,
)
"""The broadcast of `touchline demo`: 24 s at 720p, six sponsors, three shots."""

CLIP: Final = BroadcastSpec(
    width=640,
    height=360,
    fps=25,
    duration_s=6.0,
    shots=(
        Shot(0.0, "wide", pan=(-4.0, 3.0), tilt=(9.6, 9.6), focal=(3.9, 4.1)),
        Shot(4.0, "close"),
    ),
    led=(LedSlot(0.0, (QATAR_AIRWAYS,)), LedSlot(2.0, (PEPSI,))),
    painted=(),
    jersey=TURKISH_AIRLINES,
    players=14,
)
"""A small one for tests: 6 s at 360 lines, three sponsors, one LED change at 2 s, one cut at 4 s."""
