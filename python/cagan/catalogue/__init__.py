"""Swaps by the thousand and more: tables of rows, shards of lists, one manifest for each shard."""

from .shards import Catalogue, Done
from .table import swap_table

__all__ = ["Catalogue", "Done", "swap_table"]
