"""What the tool does, one use case per file, written against the ports."""
