"""The page at `/`: HTML, CSS and JavaScript modules as static files, which `server/web` serves."""

from __future__ import annotations
