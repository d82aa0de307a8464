"""The only maker of database connections: roles, row-level security, the Django backend and the asynchronous pools."""
