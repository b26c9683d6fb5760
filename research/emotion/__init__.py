"""The emotion classifier: `train` makes its weights, `measure` judges them."""

from __future__ import annotations
