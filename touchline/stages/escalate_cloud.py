"""Node 7, `escalate_cloud`: sends text that is still unresolved to a cloud model, within a budget.

Belongs here: the settings of this node, and its input. The routing, which it shares with `escalate_vlm`, is in
`touchline/escalation.py`; its documents are those of `match_brands`.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from touchline.brands import BrandBook
from touchline.escalation import Escalation, EscalationConfig, VisionLanguageProvider
from touchline.stages.match_brands import deserialize, serialize

__all__ = ["VERSION", "EscalateCloud", "EscalateCloudConfig", "deserialize", "serialize"]

VERSION: Final = "1"


class EscalateCloudConfig(EscalationConfig):
    """Settings of `escalate_cloud`. They are stricter than those of the local model, because each call costs money."""

    max_calls: int = Field(default=20, ge=0, le=10_000, description="Crops sent for one source, at most [crops]")
    min_seconds: float = Field(
        default=2.0, ge=0, description="Text seen for less time in a chunk is not sent, except in stills [s]"
    )
    min_confidence: float = Field(
        default=0.7, ge=0, le=1, description="Text that OCR read with lower confidence is not sent [0-1]"
    )
    max_cost_usd: float | None = Field(
        default=0.5, ge=0, description="Nothing more is sent once this much is spent on the source [US dollars]"
    )


class EscalateCloud(Escalation):
    """The worker. Without a provider all documents pass through, and the outcome says so."""

    def __init__(
        self,
        config: EscalateCloudConfig,
        provider: VisionLanguageProvider | None,
        state: dict[str, Any] | None = None,
        *,
        brands: BrandBook | None = None,
    ) -> None:
        super().__init__(config, provider, upstream="escalate_vlm", source="cloud_llm", brands=brands, state=state)
