"""Engines: recognisers, voice activity detectors and the emotion classifier.

`base` holds their contracts, and `registry` finds them by name. Engines know no wire format.
"""

from __future__ import annotations
