"""The definitions: what Dagster's UI shows, and that they load on nothing."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from detection_assets.definitions import build_defs
from touchline.nodes import NODE_NAMES, NODES, REPORT

SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "definitions.json"


def name_of(partitions: dg.PartitionsDefinition | None) -> str | None:
    return partitions.name if isinstance(partitions, dg.DynamicPartitionsDefinition) else None


def settings_of(definition: dg.AssetsDefinition) -> dict[str, Any]:
    """The fields of an asset's config, by name."""
    schema = definition.op.config_schema
    return dict(vars(schema.as_field().config_type)["fields"]) if schema else {}


def described(defs: dg.Definitions) -> dict[str, Any]:
    assets = {}
    for key in sorted(defs.resolve_asset_graph().materializable_asset_keys, key=lambda k: k.to_user_string()):
        definition = defs.get_assets_def(key)
        spec = definition.specs_by_key[key]
        assets[key.to_user_string()] = {
            "deps": sorted(d.asset_key.to_user_string() for d in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "partitions": name_of(definition.partitions_def),
            "pool": definition.op.pool,
            "settings": sorted(settings_of(definition)),
        }
    graph = defs.resolve_asset_graph()
    checks = {}
    for check in sorted(graph.asset_check_keys, key=str):
        rule = graph.get_check_spec(check)
        partitions = name_of(rule.partitions_def)
        name = f"{check.asset_key.to_user_string()}:{check.name}"
        checks[name] = {"blocking": rule.blocking, "partitions": partitions}
    return {
        "assets": assets,
        "checks": checks,
        "external": sorted(k.to_user_string() for k in graph.external_asset_keys),
        "jobs": sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")),
        "resources": sorted(defs.resources or {}),
        "schedules": sorted(s.name for s in defs.schedules or ()),
        "sensors": sorted(s.name for s in defs.sensors or ()),
    }


def test_the_definitions_are_those_of_the_snapshot() -> None:
    """After an intended change: python -m tests.integration.test_definitions writes the snapshot anew."""
    assert described(build_defs()) == json.loads(SNAPSHOT.read_text("utf-8"))


def test_the_graph_follows_the_nodes() -> None:
    assets = described(build_defs())["assets"]
    assert len(assets) == 9
    for node in NODES:
        assert assets[node.name]["deps"] == sorted({*node.reads, *node.traces})
    # What a stage reads from the database by lineage stands in the graph as well.
    assert all("extract_frames" in assets[name]["deps"] for name in (*NODE_NAMES[1:], REPORT))
    assert assets[REPORT]["deps"] == sorted(NODE_NAMES)


def test_every_asset_is_described_and_every_setting_documented() -> None:
    defs = build_defs()
    for key in defs.resolve_asset_graph().materializable_asset_keys:
        definition = defs.get_assets_def(key)
        assert len(definition.specs_by_key[key].description or "") > 40
        for name, field in settings_of(definition).items():
            assert field.description, f"{key.to_user_string()}.{name}"
            assert not field.is_required


def test_every_check_sensor_and_schedule_is_described() -> None:
    defs = build_defs()
    graph = defs.resolve_asset_graph()
    assert graph.asset_check_keys
    for key in graph.asset_check_keys:
        assert len(graph.get_check_spec(key).description or "") > 40, key
    for other in (*(defs.sensors or ()), *(defs.schedules or ())):
        assert len(other.description or "") > 40, other.name


def test_definitions_load_with_no_server_and_no_settings() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TOUCHLINE_HOME": "/nonexistent"}
    done = loaded(
        "import detection_assets.code_location as c, sys; c.defs.get_repository_def(); "
        "sys.exit('torch' in sys.modules)",
        environment,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, "whoever starts `touchline serve` sees it"


def test_dg_finds_the_same_code_location_as_the_webserver() -> None:
    root = Path(__file__).resolve().parents[2]
    dg_project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["dg"]["project"]
    [served] = yaml.safe_load((root / "workspace.yaml").read_text("utf-8"))["load_from"]
    target, name = dg_project["code_location_target_module"], dg_project["code_location_name"]
    assert {"module_name": target, "location_name": name} == served["python_module"]
    assert target.partition(".")[0] == dg_project["root_module"]
    module = importlib.import_module(target)
    assert [kind for kind in map(type, vars(module).values()) if kind is dg.Definitions] == [dg.Definitions]


def test_a_command_whose_work_is_done_beside_it_loads_no_dagster() -> None:
    ours = "detection_assets.jobs.run_outcome, detection_assets.local.report_files"
    modules = f"{ours}, resources.connection, touchline_cli.outcome"
    code = f"import sys, touchline_cli.run, touchline_cli.backfill, {modules}; sys.exit('dagster' in sys.modules)"
    assert loaded(code, dict(os.environ)).returncode == 0


def test_the_time_that_a_run_has_to_start_is_the_one_that_the_docs_say() -> None:
    root = Path(__file__).parents[2]
    monitoring = yaml.safe_load((root / "dagster.yaml").read_text("utf-8"))["run_monitoring"]
    assert monitoring["start_timeout_seconds"] == 180
    told = " ".join((root / "docs/operations.md").read_text("utf-8").split())
    assert "has not started within three minutes" in told


def loaded(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(json.dumps(described(build_defs()), indent=2, sort_keys=True) + "\n", "utf-8")
