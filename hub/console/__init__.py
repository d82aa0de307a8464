"""What people see of the hub: the admin, the operator's views and the chat page."""
