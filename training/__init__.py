"""Training weights of our own for `detect_objects`, on synthetic broadcasts: see `training/README.md`."""
