"""Scores in, ranks, metrics, intervals and recommended items out.

A model, or a baseline, is a function from targets to scores here.
"""
