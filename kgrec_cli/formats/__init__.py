"""Bytes on disk to tables and back; no maths.

In: paths. Out: polars tables, arrays, plain values. Nothing here knows settings or stages; files
that kgrec writes appear whole or not at all (`files.writing`).
"""
