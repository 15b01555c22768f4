"""A search over settings: points of a space in, finished trials and their reports out.

What a trial does is the caller's function; the study file is the only thing written.
"""
