"""SIMULATED nights, for demos, tests and benchmarks without data: `simulate_night`, `write_simulated_night`."""

from .channels import DEFAULT_CHANNELS
from .night import SimulatedNight, checked_output, simulate_night, write_simulated_night


__all__ = ["DEFAULT_CHANNELS", "SimulatedNight", "checked_output", "simulate_night", "write_simulated_night"]
