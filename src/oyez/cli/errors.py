"""How a command ends: its exit code, and the one line on stderr that says why."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

DONE = 0
FAILED = 1
"""A part of what was asked for failed: a file, a check."""
USAGE = 2
"""The usage or a setting is wrong; nothing was begun."""
NEVER_STARTED = 3
"""There is no engine, server, port or microphone to start with."""
INTERRUPTED = 130
"""Ctrl-C came before everything was done."""


class CommandError(click.ClickException):
    """An error that the user can do something about. The message says what."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message without control characters, which names of files may contain."""
        from oyez.cli.values import printable

        lines = map(printable, self.format_message().splitlines())
        click.echo("oyez: " + "\n".join(lines), file=file, err=file is None)


@contextmanager
def closed_stdout_is_no_error() -> Iterator[None]:
    """End with exit code 0 when the reader of stdout closes the pipe early (`| head`).

    A BrokenPipeError of any other connection is raised again.
    """
    try:
        yield
    except BrokenPipeError:
        poll = select.poll()
        poll.register(sys.stdout, 0)  # errors are reported without being asked for
        if not poll.poll(0):
            raise
        raise click.exceptions.Exit(DONE) from None
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes stdout once more when it exits, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def confirm(question: str, *, is_confirmed: bool) -> None:
    """Ask before something that cannot be undone, unless `--yes` was given.

    Raises click.Abort for "no", and CommandError where stdin is no terminal.
    """
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise CommandError("stdin is no terminal, so the question has no answer: add --yes", USAGE)
    click.confirm(question, abort=True, err=True)
