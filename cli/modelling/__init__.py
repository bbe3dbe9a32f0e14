"""What is computed before a deploy: data sets, training, scores. No network, and what is heavy is imported late."""
