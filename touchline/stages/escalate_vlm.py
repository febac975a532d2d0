"""Node 6, `escalate_vlm`: sends text that matches no known brand to a local vision language model.

Belongs here: the settings of this node, and its input. The routing, which it shares with `escalate_cloud`, is in
`touchline/escalation.py`; its documents are those of `match_brands`.
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
    """The worker. Without a provider all documents pass through, and the outcome says so."""

    def __init__(
        self,
        config: EscalateVlmConfig,
        provider: VisionLanguageProvider | None,
        state: dict[str, Any] | None = None,
        *,
        brands: BrandBook | None = None,
    ) -> None:
        super().__init__(config, provider, upstream="match_brands", source="local_vlm", brands=brands, state=state)
