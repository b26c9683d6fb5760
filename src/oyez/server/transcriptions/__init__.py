"""Whole files over HTTP, in the form of OpenAI's audio API."""
