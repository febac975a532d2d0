"""The sensors, which Dagster's daemon evaluates: uploads, and the status of runs."""

from detection_assets.sensors.new_uploads import new_uploads, registered_uploads
from detection_assets.sensors.run_status import SENSORS as RUN_STATUS_SENSORS

SENSORS = (*RUN_STATUS_SENSORS, new_uploads, registered_uploads)

__all__ = ["SENSORS"]
