"""The ground floor: private files that are replaced whole, locks, and SQLite. Every room may use it."""
