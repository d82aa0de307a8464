"""What happens to a message, as verbs in order: accept, run, commit, deliver."""
