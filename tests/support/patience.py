"""How long tests wait for what must come."""

PATIENCE = 60.0
"""Seconds. Far more than anything takes on a machine that is busy with other things: only a failure waits so long."""
