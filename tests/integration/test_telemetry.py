"""What libraries would send by themselves is off before they are imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import touchline
import openvino, openvino.tools.ovc.telemetry_utils as used, onnxruntime
assert used.tm.__name__ == "openvino.tools.ovc.telemetry_stub", used.tm
assert "openvino_telemetry.main" not in __import__("sys").modules
"""


def test_openvino_and_onnx_runtime_send_nothing_and_leave_the_users_home_alone(tmp_path: Path) -> None:
    log = tmp_path / "reached"
    (tmp_path / "home").mkdir()
    unset = dict.fromkeys(("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CI"), "")
    path = os.pathsep.join([str(ROOT / "tests" / "no_network"), str(ROOT)])
    own = {"HOME": str(tmp_path / "home"), "NO_NETWORK_LOG": str(log), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **unset, **own}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not log.exists(), log.read_text("utf-8")
    assert list((tmp_path / "home").rglob("*")) == []
