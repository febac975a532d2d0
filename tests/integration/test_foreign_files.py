"""What a browser can send names no file of the server's, and errors do not repeat what a file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from detection_assets.local.registered_files import CHECKSUM, WEIGHTS, hand_over, handed_over
from detection_assets.local.runner import Runner
from resources.brand_lists import store_list, stored_list
from resources.object_store import ObjectStore
from resources.run_settings import RunSettings, refuse_foreign
from touchline.brands import BrandEntry, read_csv
from touchline.errors import BadInputError
from touchline.library.tables import SourceAsset
from touchline.profiles import STAGE_NAMES, Profile, file_settings, load_profile, own_profiles
from touchline.vision.yolo import find_weights
from touchline.weights import sha256_of

SECRET = "hunter2-correct-horse"
NAMES_NO_FILE = {
    "detect_objects.weights_sha256",
    "detect_objects.device",
    "detect_objects.classes",
    "detect_objects.detector",
    "run_ocr.engine",
    "run_settings.profile",
    "run_settings.from_job",
    "run_settings.brands",
}
"""Settings of text that is a name, a checksum or a list of words; `brands_csv` is refused whatever it says."""


def run_settings(**values: Any) -> dict[str, Any]:
    return {"resources": {"run_settings": {"config": values}}}


def stage(name: str, **values: Any) -> dict[str, Any]:
    return {"ops": {name: {"config": values}}}


def texts(model: type[BaseModel]) -> set[str]:
    return {
        name for name, field in model.model_fields.items() if str in (field.annotation, *get_args(field.annotation))
    }


def test_every_setting_of_text_is_known_to_name_a_file_or_none() -> None:
    found = {f"{name}.{field}" for name in STAGE_NAMES for field in texts(type(Profile().stage(name)))}
    found |= {f"run_settings.{field}" for field in texts(RunSettings)}
    assert found == {*NAMES_NO_FILE, *file_settings(), "run_settings.brands_csv"}


@pytest.mark.parametrize(
    "config",
    [
        run_settings(brands_csv="/etc/passwd"),
        run_settings(profile={"env": "TOUCHLINE_POSTGRES_URL"}),
        stage("detect_objects", classes={"env": "TOUCHLINE_S3_SECRET_ACCESS_KEY"}),
        stage("detect_objects", image_size={"env": "TOUCHLINE_POSTGRES_URL"}),
        *(
            stage("detect_objects", weights=path)
            for path in ("/etc/x.pt", "../x.pt", "~/x.pt", ".hidden.pt", "a\\b.pt", "'/x.pt'", '"\\x2fx.pt"', "x\n.pt")
        ),
    ],
)
def test_a_run_that_names_a_file_or_a_variable_of_the_server_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as refused:
        refuse_foreign(config)
    assert "run_settings" in str(refused.value) or "detect_objects" in str(refused.value)
    assert "/etc/passwd" not in str(refused.value)


def test_other_settings_are_let_through() -> None:
    refuse_foreign(run_settings(profile="mine", brands="sha256:" + "ab" * 32, brands_csv="", fresh=True))
    refuse_foreign(stage("detect_objects", weights="yolo11n.pt", weights_sha256="ab" * 32, classes="person, ball"))


def test_a_weights_file_of_the_working_folder_is_not_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stray.pt").write_bytes(b"0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"no stray\.pt in .*models"):
        find_weights("stray.pt", sha256_of(tmp_path / "stray.pt"), download=False)


def test_files_that_a_command_names_are_registered_by_their_content(objects: ObjectStore, tmp_path: Path) -> None:
    weights, brands = tmp_path / "best.pt", tmp_path / "ours.csv"
    weights.write_bytes(b"weights")
    brands.write_text("canonical_name,aliases\nAcme,\n", "utf-8")
    digest = sha256_of(weights)
    changed, reference = hand_over(objects, {WEIGHTS: str(weights), CHECKSUM: digest.upper()}, brands)
    refuse_foreign({**run_settings(brands=reference), **stage("detect_objects", weights=changed[WEIGHTS])})
    assert stored_list(objects, reference) == [BrandEntry.of("Acme")]
    found, asked = find_weights(changed[WEIGHTS], changed[CHECKSUM], download=False)
    assert (found.read_bytes(), found.name, asked) == (b"weights", "best.pt", digest.upper())
    weights.unlink()
    assert hand_over(objects, {WEIGHTS: str(weights), CHECKSUM: digest}, None)[0][WEIGHTS] == "best.pt"
    with pytest.raises(BadInputError, match="cannot be read"):
        hand_over(objects, {WEIGHTS: str(weights), CHECKSUM: "ab" * 32}, None)


def test_weights_without_a_checksum_are_refused_with_the_command_that_tells_it(
    objects: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    with pytest.raises(BadInputError, match="sha256sum .*best.pt"):
        hand_over(objects, {WEIGHTS: str(tmp_path / "best.pt")}, None)


def test_the_config_of_an_earlier_run_that_names_files_can_be_asked_for_again(
    objects: ObjectStore, tmp_path: Path
) -> None:
    brands = tmp_path / "ours.csv"
    brands.write_text("canonical_name,aliases\nAcme,\n", "utf-8")
    old = run_settings(profile="", brands_csv=str(brands), fresh=True)
    asked = handed_over(objects, old)
    refuse_foreign(asked)
    settings = asked["resources"]["run_settings"]["config"]
    assert settings == {"profile": "", "fresh": True, "brands": store_list(objects, brands)}
    brands.unlink()
    with pytest.raises(BadInputError, match=r"cannot be taken over: brands file .*ours\.csv cannot be read"):
        handed_over(objects, old)


def test_a_stored_list_that_is_not_there_or_was_changed_is_refused(objects: ObjectStore, tmp_path: Path) -> None:
    brands = tmp_path / "ours.csv"
    brands.write_text("canonical_name,aliases\nAcme two,\n", "utf-8")
    reference = store_list(objects, brands)
    objects.put(f"brands/{reference.removeprefix('sha256:')}.csv", b"canonical_name,aliases\nEvil,\n")
    with pytest.raises(BadInputError, match="damaged"):
        stored_list(objects, reference)
    with pytest.raises(BadInputError, match="no list sha256:abab.* is stored"):
        stored_list(objects, "sha256:" + "ab" * 32)
    with pytest.raises(BadInputError) as refused:
        stored_list(objects, f"../{SECRET}")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"postgres": {"password": SECRET}}),
        f"{SECRET}\n",
        f"canonical_name,aliases\n---{SECRET}\x07,\n",
        f"canonical_name,aliases\n{SECRET},a,{SECRET}\n",
        f"canonical_name,aliases\n{SECRET * 12},\n",
        f"canonical_name,aliases\n{SECRET},\n{SECRET},\n",
        f"canonical_name,aliases\nAcme,{SECRET}\nBcme,{SECRET}\n",
        f'canonical_name,aliases\n"{SECRET}\n',
        f"canonical_name,aliases\n{SECRET}\0,\n",
    ],
)
def test_no_fault_of_a_list_of_brands_repeats_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "brands.csv"
    path.write_text(content, "utf-8")
    with pytest.raises(BadInputError) as refused:
        read_csv(path)
    assert SECRET not in told(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}: [",
        f"- {SECRET}",
        f"name: {SECRET}",
        f"{SECRET}: 1",
        f"run_ocr: {{engine: {SECRET}}}",
        f"run_ocr: {{{SECRET}: 1}}",
        f"extract_frames: {{sample_fps: {SECRET}}}",
        f"a: *{SECRET}",
        f"a: !{SECRET} 1",
        f"password = {SECRET}\n: : :\n",
        f"'{SECRET}",
    ],
)
def test_no_fault_of_a_profile_repeats_the_file(content: str, request: pytest.FixtureRequest) -> None:
    own_profiles().mkdir(exist_ok=True)
    path = own_profiles() / "leaky.yaml"
    request.addfinalizer(path.unlink)
    path.write_text(content, "utf-8")
    with pytest.raises(BadInputError) as refused:
        load_profile("leaky")
    assert SECRET not in told(refused.value)
    assert str(path) in str(refused.value)


def test_a_run_from_the_browser_cannot_be_made_to_tell_a_file_or_a_variable(
    runner: Runner, own_source: SourceAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "state.json"
    secret.write_text(json.dumps({"postgres": {"password": SECRET}}))
    monkeypatch.setenv("TOUCHLINE_LEAK", SECRET)
    for config in (
        run_settings(brands_csv=str(secret)),
        run_settings(profile={"env": "TOUCHLINE_LEAK"}),
        run_settings(from_job={"env": "TOUCHLINE_LEAK"}),
        stage("detect_objects", weights=str(secret), required=True),
    ):
        result = runner._job.execute_in_process(
            instance=runner.instance,
            partition_key=own_source.partition_key,
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        assert not result.success
        events = "".join(map(str, runner.instance.all_logs(result.run_id)))
        assert SECRET not in events
        assert "of the server's" in events


def told(error: BaseException | None) -> str:
    """What an error says with all that it was raised from, as a step's failure shows them."""
    text = ""
    while error is not None:
        text += f"{error!s}\n{error!r}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text
