"""Brand detection in soccer broadcast video: the domain, free of Dagster, databases and networks."""

import os
import sys
from typing import Any

# OpenCV reads it when it is imported. By itself Intel's IPP inside it takes other code for each generation of
# processors, and a picture that is resized (cubic) or compared with a template comes out otherwise by some last bits.
os.environ.setdefault("OPENCV_IPP", "sse42")

# What libraries would send by themselves, turned off before they are imported; docs/operations.md has the list.
# OpenVINO's telemetry asks nobody, and writes into the user's home. Without that package OpenVINO does as well.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)
os.environ |= {
    # ONNX Runtime sends from native code, from its import on.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "DO_NOT_TRACK": "1",
}
