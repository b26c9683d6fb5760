"""`oyez completion`: the script that teaches a shell to complete oyez' commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_OYEZ_COMPLETE"
"""What the script sets when it asks oyez for completions."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
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
    found = get_completion_class(shell)
    assert found is not None, "click knows them all"
    click.echo(found(ctx.find_root().command, {}, "oyez", VARIABLE).source())
