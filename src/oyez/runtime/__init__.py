"""Runs engines: loads them, schedules recognition jobs on their threads or processes, and measures
how many sessions fit. It does not depend on the wire."""

from __future__ import annotations
