"""EDGE: from labelled recordings to the weights of the emotion classifier."""

from __future__ import annotations
