"""A prepared data set on disk in; histories, a split and feature tables in memory out.

Each atomic file is read here, with the settings' field names. Nothing is written.
"""
