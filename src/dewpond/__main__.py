"""`python -m dewpond` is the terminal face."""

from dewpond.cli import main

main()
