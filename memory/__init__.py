"""Remember and recall: the recent buffer, summaries, and hybrid search over what was said."""
