"""`python -m oyez` is the oyez command."""

from __future__ import annotations

from oyez.cli.main import main

main(prog_name="oyez")
