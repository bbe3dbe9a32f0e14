"""A local stand-in of Numerai: its API, its data store and its round clock."""
