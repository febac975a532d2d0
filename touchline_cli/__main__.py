"""`python -m touchline_cli`: the same as `touchline`."""

from touchline_cli.app import main

main()
