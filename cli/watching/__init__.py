"""Never miss a round: one policy, and the watcher of this machine that acts by it."""
