"""Runnable scripts and the command `sleepvit` that dispatches to them."""
