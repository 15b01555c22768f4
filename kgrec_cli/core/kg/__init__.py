"""Triples in, entity vectors and ranks of held-out triples out. PyKEEN is imported here alone."""
