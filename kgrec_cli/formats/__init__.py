"""Bytes on disk to tables and back; no maths."""
