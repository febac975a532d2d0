"""The command line. Belongs here: options, messages and exit codes. The packages below do the work."""
