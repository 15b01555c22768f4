"""Histories and a model in, trained weights out: batches, losses, epochs, early stopping.

What a checkpoint must hold is `state`; writing it is the caller's work.
"""
