"""Pure translation between platform dialects and the hub's vocabulary: no Django, no database."""
