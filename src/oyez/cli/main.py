"""The `oyez` command. Importing it is light: each subcommand imports what it needs."""

from __future__ import annotations

from importlib import import_module

import click

from oyez import __version__

COMMANDS = {
    "serve": ("oyez.cli.serve:serve", "Start the server."),
    "emotion": ("oyez.cli.emotion:emotion", "Train the emotion classifier."),
    "bench": ("oyez.bench.cli:bench", "Measure accuracy, latency, load and endurance."),
}
"""Name to "module:command", and the line for `oyez --help`, which imports none of them."""


class LazyGroup(click.Group):
    """Imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="oyez")
def main() -> None:
    """Live speech to text over WebSocket, on your own machine.

    Programs written for Qwen3-ASR-Flash-Realtime work after changing their URL.

    \b
    Examples:
      oyez serve                     on ws://127.0.0.1:8080, for this machine only
      oyez serve --port 9000
      oyez serve --host 0.0.0.0 --api-keys-file keys.txt
    """
