"""The provider `local`: nodes run on this machine, served by a daemon."""
