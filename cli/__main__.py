"""`python -m numerai_compute` is the command `numerai`."""

from .main import main

main()
