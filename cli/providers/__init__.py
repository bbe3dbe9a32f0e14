"""What runs nodes: the registry of providers and one package per provider."""
