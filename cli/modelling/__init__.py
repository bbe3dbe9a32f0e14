"""What is computed before a deploy: models are trained and judged here, without a network."""
