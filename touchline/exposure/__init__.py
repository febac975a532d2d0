"""From detections in frames to seconds on screen: interval arithmetic, the timeline of samples, exposure, candidates.

Belongs here: arithmetic on times, shares and factors, free of pixels and of files. How the result is shown is in
`touchline/report/`; where the settings stand, in `touchline/stages/brand_report.py`.
"""
