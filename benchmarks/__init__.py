"""Measurements beside RecBole; each prints a table and writes JSON."""
