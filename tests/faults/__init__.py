"""The faults that what is kept must survive."""
