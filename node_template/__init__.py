"""What a user gets: one folder per example, and the small runtime that every example carries."""
