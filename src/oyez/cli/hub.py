"""The Hugging Face hub: the one place of oyez that downloads, and only when asked to."""

from __future__ import annotations

from pathlib import Path

from oyez.engines import library

OWNER = "Systran"
"""Whose conversions a plain size names, as in faster-whisper."""
ELSEWHERE = {
    "large": f"{OWNER}/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
"""Sizes whose repository is called otherwise."""


class HubError(Exception):
    """It could not be downloaded; the message says what to do."""


def repository(name: str) -> str:
    """`owner/repository` as it is; a size such as `small` as faster-whisper's."""
    return name if "/" in name else ELSEWHERE.get(name, f"{OWNER}/faster-whisper-{name}")


def download(name: str, target: Path) -> None:
    """Put the files of the model `name` into `target`. Raises HubError."""
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    repo = repository(name)
    elsewhere = (
        "on a machine that reaches it: hf download "
        f"{repo} --local-dir DIRECTORY; then here: oyez models add DIRECTORY --name NAME"
    )
    try:
        huggingface_hub.snapshot_download(
            repo, local_dir=target, allow_patterns=[*library.NEEDED, *library.OPTIONAL]
        )
    except GatedRepoError as error:
        raise HubError(f"{repo} asks for consent first: log in with hf auth login") from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"there is no {repo} on the Hugging Face hub: give a size such as small or medium, "
            "or owner/repository of a model in CTranslate2's format"
        ) from error
    except HfHubHTTPError as error:
        raise HubError(f"the Hugging Face hub refused {repo}: {error}") from error
    except Exception as error:  # whatever its HTTP library raises
        raise HubError(f"the Hugging Face hub cannot be reached; {elsewhere}") from error
