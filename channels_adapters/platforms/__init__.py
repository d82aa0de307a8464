"""One module per channel; `registry` finds them, nothing else names them."""
