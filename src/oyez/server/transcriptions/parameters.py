"""The fields of the form, checked."""

from __future__ import annotations

from dataclasses import dataclass

from oyez.engines.base import LANGUAGES
from oyez.protocol.errors import one_of
from oyez.server.transcriptions.errors import ApiError, bad_value
from oyez.server.transcriptions.form import Form

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
STREAMED_FORMATS = ("json", "text")
MAX_PROMPT_CHARS = 40_000
MAX_MODEL_CHARS = 200


@dataclass(frozen=True, slots=True)
class Parameters:
    model: str = ""
    """Any name: the server runs one model."""
    language: str | None = None
    prompt: str = ""
    response_format: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    stream: bool = False


def parameters(form: Form, allowed: tuple[str, ...] = ()) -> Parameters:
    """Raises ApiError naming the field and its values. allowed: the only languages the caller may
    ask for; none: all."""
    response_format = form.one("response_format") or "json"
    if response_format not in FORMATS:
        raise bad_value("response_format", response_format, one_of(FORMATS))
    stream = _flag(form, "stream")
    if stream and response_format not in STREAMED_FORMATS:
        message = f"stream=true goes with response_format {one_of(STREAMED_FORMATS)} only."
        raise ApiError(400, message, param="response_format", code="invalid_value")
    prompt = form.one("prompt") or ""
    if len(prompt) > MAX_PROMPT_CHARS:
        message = f"prompt is longer than {MAX_PROMPT_CHARS} characters."
        raise ApiError(400, message, param="prompt", code="invalid_value")
    _check_temperature(form)
    return Parameters(
        model=_model(form),
        language=_language(form, allowed or LANGUAGES),
        prompt=prompt,
        response_format=response_format,
        granularities=_granularities(form, response_format),
        stream=stream,
    )


def _model(form: Form) -> str:
    """It goes into usage, which people read in terminals and spreadsheets."""
    value = form.one("model") or ""
    if len(value) > MAX_MODEL_CHARS or not value.isprintable():
        raise bad_value("model", value, f"up to {MAX_MODEL_CHARS} printable characters")
    return value


def _flag(form: Form, name: str) -> bool:
    value = (form.one(name) or "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise bad_value(name, value, "'true', 'false'")
    return value in ("true", "1")


def _language(form: Form, allowed: tuple[str, ...]) -> str | None:
    value = form.one("language")
    if value is None:
        return None
    if value.lower() not in allowed:
        raise bad_value("language", value, one_of(allowed))
    return value.lower()


def _granularities(form: Form, response_format: str) -> tuple[str, ...]:
    name = "timestamp_granularities"
    values = [*form.values.get(name + "[]", []), *form.values.get(name, [])]
    for value in values:
        if value not in GRANULARITIES:
            raise bad_value(name, value, one_of(GRANULARITIES))
    if values and response_format != "verbose_json":
        message = f"{name} goes with response_format 'verbose_json' only."
        raise ApiError(400, message, param=name, code="invalid_value")
    return tuple(values) or ("segment",)


def _check_temperature(form: Form) -> None:
    """It has no effect, but one that is none is told."""
    value = form.one("temperature")
    try:
        if value is None or 0 <= float(value) <= 1:
            return
    except ValueError:
        pass
    raise bad_value("temperature", value, "0 to 1 (without effect)")
