"""Offline checks of deploy/ against itself, the published schemas and the program: `python -m scripts.deploycheck`.

No container engine and no cluster is asked. Each check is a function that yields what is wrong, as one line each.
"""
