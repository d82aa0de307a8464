"""Composition root, edges and the message pipeline: the only package that knows all the others."""
