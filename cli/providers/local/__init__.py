"""The local provider: runs nodes on this machine, in containers or as processes."""
