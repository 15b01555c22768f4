"""Run folders: created, listed, looked up, and loaded as a model with its items.

In: `saved/`. Out: settings, weights, metrics. Only here are the files of a run read and written.
"""
