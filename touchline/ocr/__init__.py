"""Reading text: engines behind one protocol, tracks over frames, and what a track says."""
