"""Django's PostgreSQL backend, stamped with the current tenant."""
