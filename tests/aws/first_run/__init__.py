"""The first run on a real account: a throwaway cluster, made, proven step by step, and always destroyed."""
