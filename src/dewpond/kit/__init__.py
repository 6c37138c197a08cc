"""The floor: money, ids, clocks, database, facts, jobs, batches, secrets and wire; it knows nothing of our trade."""
