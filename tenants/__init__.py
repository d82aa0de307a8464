"""Who is asking and how much they may use; every other row hangs off a tenant."""
