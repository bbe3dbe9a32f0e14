"""The GraphQL API: what it answers to each field, in whose name, and in which words."""
