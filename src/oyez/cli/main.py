"""The `oyez` command. Each subcommand but `completion` is imported when it is called."""

from __future__ import annotations

import difflib
import io
import sys
from importlib import import_module
from typing import Any

import click

from oyez import __version__
from oyez.cli.errors import INTERRUPTED, CommandError, closed_stdout_is_no_error

COMMANDS = {
    "serve": ("oyez.cli.serve:serve", "Start the server."),
    "transcribe": ("oyez.cli.transcribe:transcribe", "Write down what recordings say."),
    "listen": ("oyez.cli.listen:listen", "Live captions of a microphone or a pipe."),
    "doctor": ("oyez.cli.doctor:doctor", "Check this machine and suggest fixes."),
    "models": ("oyez.cli.models:models", "List, check, add and remove models."),
    "keys": ("oyez.cli.keys:keys", "Create, list, limit, rename and revoke API keys."),
    "usage": ("oyez.cli.usage:usage", "Show what was used, by key, day or language."),
    "bench": ("oyez.bench.commands:bench", "Measure accuracy, latency, load and endurance."),
    "docs": ("oyez.cli.serve:docs", "Print the OpenAPI or AsyncAPI document."),
    "completion": ("oyez.cli.main:completion", "Complete commands with the Tab key."),
}
"""By name: "module:command", and the line in `oyez --help`, which imports none of them."""


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is called, and reports every error alike."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        return getattr(import_module(module), name)  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or name the nearest one that exists."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            instead = f"Did you mean {near[0]!r}?" if near else "See 'oyez --help'."
            ctx.fail(f"No such command {args[0]!r}. {instead}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the command line; `--help` and `--version` print here."""
        with closed_stdout_is_no_error():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; its errors become one line and an exit code."""
        try:
            with closed_stdout_is_no_error():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo("oyez: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except (CommandError, click.UsageError, BrokenPipeError):
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise CommandError(f"{where}{error.strerror or error}") from error
        except click.ClickException as error:
            raise CommandError(error.format_message(), error.exit_code) from error


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
@click.version_option(__version__, prog_name="oyez")
def main() -> None:
    """Live speech to text over WebSocket, on your own machine.

    Programs written for Qwen3-ASR-Flash-Realtime work after changing their URL.

    \b
    Examples:
      oyez serve                     on ws://127.0.0.1:8080, for this machine only
      oyez serve --host 0.0.0.0 --api-keys-file keys.txt
      oyez transcribe talk.mp3       writes what is said in it
      oyez listen                    live captions of the microphone
      oyez doctor                    finds problems of this machine

    Exit codes: 0 done, 1 something failed, 2 wrong usage or settings, 3 could
    not start, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its code instead of a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands and options with the Tab key.

    \b
    bash: add to ~/.bashrc
      eval "$(oyez completion bash)"
    zsh: add to ~/.zshrc, below compinit
      eval "$(oyez completion zsh)"
    fish:
      oyez completion fish > ~/.config/fish/completions/oyez.fish

    It takes effect in the next shell that is opened. bash must be 4.4 or newer.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click has a class for each of these shells"
    # The script of a shell sets this variable when it asks oyez for completions.
    click.echo(found(ctx.find_root().command, {}, "oyez", "_OYEZ_COMPLETE").source())
