"""What is computed before a deploy: data, training, judging."""
