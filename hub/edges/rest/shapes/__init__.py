"""The shapes of what goes out and comes in. Secrets go in only."""
