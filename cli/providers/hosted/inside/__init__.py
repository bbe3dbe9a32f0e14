"""Programs that run inside a container, with what is installed there: nothing of this tool can be imported."""
