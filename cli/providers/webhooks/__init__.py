"""What every webhook does, on this machine and in a cloud's function: pure, on the standard library alone."""
