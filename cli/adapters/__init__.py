"""Concrete implementations of the ports, each wrapping one outside thing."""
