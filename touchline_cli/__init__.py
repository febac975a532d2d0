"""The command line. Belongs here: options, messages and exit codes; work is done in the packages below."""
