"""Every door of the hub, each thin: it checks who and how much, hands on to the pipeline, and words the answer."""
