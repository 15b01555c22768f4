"""Tables and tensors in, tables and tensors out: no paths, no printing; one room a subject."""
