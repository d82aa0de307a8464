"""A prompt and recalled context in, a reply out; knows no channel."""
