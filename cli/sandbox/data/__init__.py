"""The datasets that the sandbox serves: made up from a seed, or taken from a folder and completed."""
