"""Files over HTTP, in the form of OpenAI's audio API: docs/http.md."""

from __future__ import annotations
