"""Numerai itself as a provider: a model upload (pickle) that Numerai validates and runs every round."""
