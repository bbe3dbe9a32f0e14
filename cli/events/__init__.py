"""Event handlers: code of one's own that is called as rounds open, data arrive and submissions are made."""
