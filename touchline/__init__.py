"""Brand detection in soccer broadcast video: the domain, free of Dagster, databases and networks."""

import os

# OpenCV reads it when it is imported. By itself Intel's IPP inside it takes other code for each generation of
# processors, and a picture that is resized (cubic) or compared with a template comes out otherwise by some last bits.
os.environ.setdefault("OPENCV_IPP", "sse42")
