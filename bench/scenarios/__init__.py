"""The scenarios, each a file: what is expected and why, the cases, and how they are played."""
