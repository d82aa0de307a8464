"""Sentence vectors: the bundled English model, a tenant's HTTP endpoint, or none at all (recall is then lexical)."""
