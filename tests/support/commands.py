"""Commands as documents show them, held against the command line there is. Nothing is run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import click

BETWEEN_COMMANDS = re.compile(r"\|\|?|&&|;|\$\(|\)|(?<!<)>|&")
BEFORE = r"\s*(?:[A-Z_]+=\S+\s+)*(?:sudo\s+(?:-\S+\s+\S+\s+)*)?(?:\S*/)?"
"""Variables, sudo and its options, a folder."""
OYEZ = re.compile(BEFORE + "(oyez (?!is ready).*)")


def typed(text: str) -> list[str]:
    """Lines of a block that are typed: those behind a prompt, or all where there is none."""
    lines = text.replace("\\\n", " ").splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    return prompted or lines


def oyez_commands(line: str) -> Iterator[str]:
    """Each `oyez …` of a line of shell."""
    for part in BETWEEN_COMMANDS.split(line):
        if match := OYEZ.match(part):
            yield match[1].strip().rstrip("\"'")


def parse(command: click.Command, arguments: list[str]) -> None:
    """Follow the command's name to its last part. Raises click.UsageError for what is not there."""
    context = click.Context(command, info_name=command.name)
    with contextlib.suppress(click.BadOptionUsage):  # shown without its value
        while isinstance(command, click.Group):
            _, arguments, _ = command.make_parser(context).parse_args(arguments)
            if not arguments or arguments[0].isupper():  # COMMAND stands for any
                return
            name, *arguments = arguments
            found = command.get_command(context, name)
            if found is None:
                raise click.UsageError(f"there is no {command.name} {name}")
            command = found
            context = click.Context(command, parent=context, info_name=name)
        command.make_parser(context).parse_args(arguments)


def every_flag(command: click.Command) -> Iterator[str]:
    """Of a command and all below it."""
    context = click.Context(command)
    for option in command.get_params(context):
        yield from (*option.opts, *option.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from every_flag(inner)
