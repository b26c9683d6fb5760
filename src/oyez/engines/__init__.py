"""Engines: recognisers, voice activity detectors and the emotion classifier.

`base` holds their contracts, and `registry` finds them by name. Engines do not depend on the wire.
"""

from __future__ import annotations
