"""vmap's rules: how a primitive, or a function, runs on all samples at once."""
