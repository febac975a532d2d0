"""From detections in frames to seconds on screen: interval arithmetic, the timeline of samples, exposure, candidates.

Belongs here: arithmetic on times, shares and factors, without pixels and files. The report is in `touchline/report/`,
the settings are in `touchline/stages/brand_report.py`.
"""
