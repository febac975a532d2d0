"""Brand detection in soccer broadcast video: the domain code, without Dagster."""

import os
import sys
from typing import Any

# OpenCV reads this variable when it is imported. By default Intel's IPP chooses its code by the processor, and cubic
# resizing and template matching then differ in the last bits between machines.
os.environ.setdefault("OPENCV_IPP", "sse42")

# Telemetry of libraries is turned off before they are imported. docs/operations.md has the list.
# OpenVINO's telemetry has no such switch and writes into the user's home. OpenVINO works without that package.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)
os.environ |= {
    # ONNX Runtime sends from native code as soon as it is imported.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "DO_NOT_TRACK": "1",
}
