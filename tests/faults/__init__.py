"""The fault matrix: one fault at a time on the real path, and what must come of it."""
