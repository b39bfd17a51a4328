"""Scorings of any usual format as a Hypnogram: `read_scoring`."""

from .reading import read_scoring


__all__ = ["read_scoring"]
