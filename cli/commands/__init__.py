"""Command groups: each file parses options, calls one use case and renders its result."""
