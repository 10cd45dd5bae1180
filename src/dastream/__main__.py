"""`python -m dastream` is the `dastream` program."""

from dastream.cli import main

main()
