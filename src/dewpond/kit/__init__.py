"""The floor: money, ids, clocks, database, facts, jobs, batches, crypto and the way out; it knows nothing of our trade."""
