"""Curation of pairs: finds faults and repeats, and takes decisions by eye."""

from .curating import Curation, curate
from .reviewing import review

__all__ = ["Curation", "curate", "review"]
