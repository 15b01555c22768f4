"""GRU4RecKG: tables and tensors in, tables and tensors out; no paths."""
