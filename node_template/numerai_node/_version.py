"""The version of this runtime. The copy in a node's folder is compared by it with the tool's own."""

__version__ = "0.2.1"
