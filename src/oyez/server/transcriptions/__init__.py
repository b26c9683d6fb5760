"""Files over HTTP in the form of OpenAI's audio API, described in docs/http.md."""

from __future__ import annotations
