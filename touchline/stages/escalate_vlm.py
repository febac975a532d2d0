"""Node 6, `escalate_vlm`: text that is no known brand, shown to a vision language model that runs locally.

Belongs here: the settings of this node and its place in the graph. The routing, which it shares with `escalate_cloud`,
is in `touchline/escalation.py`; its documents are those of `match_brands`.
"""

from __future__ import annotations

from typing import Any, Final

from touchline.brands import BrandBook
from touchline.escalation import Escalation, EscalationConfig, VisionLanguageProvider
from touchline.stages.match_brands import deserialize, serialize

__all__ = ["VERSION", "EscalateVlm", "EscalateVlmConfig", "deserialize", "serialize"]

VERSION: Final = "1"


class EscalateVlmConfig(EscalationConfig):
    """Settings of `escalate_vlm`."""


class EscalateVlm(Escalation):
    """Runs the node; without a provider everything passes through and the outcome says so."""

    def __init__(
        self,
        config: EscalateVlmConfig,
        provider: VisionLanguageProvider | None,
        state: dict[str, Any] | None = None,
        *,
        brands: BrandBook | None = None,
    ) -> None:
        super().__init__(config, provider, upstream="match_brands", source="local_vlm", brands=brands, state=state)
