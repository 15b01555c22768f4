"""Interactions in; vocabularies, histories, splits and negative samples out, as flat arrays."""
