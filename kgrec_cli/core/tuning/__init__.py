"""A search over settings: points of a space in, finished trials and their reports out.

What a trial does is the caller's function; the study's database is the only thing written.
"""
