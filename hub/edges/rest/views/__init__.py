"""A tenant's own rows over HTTP: thin, each view names its rows, its filters and its order along an index."""
