"""REST for a tenant's own programs and console users: `/api/v1/`, described by `/api/schema/`."""
