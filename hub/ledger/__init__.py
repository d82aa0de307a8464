"""The hot SQL and nothing else: one module per step, batched, asynchronous, fenced."""
