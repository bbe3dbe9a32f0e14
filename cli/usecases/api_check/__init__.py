"""`numerai doctor --api`: compares Numerai's API with what this version relies on."""
