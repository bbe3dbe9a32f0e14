"""Put Numerai models into production: the tool behind the command `numerai`."""

__version__ = "0.1.0"
