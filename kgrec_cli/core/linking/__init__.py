"""Items and a knowledge graph in; links, their coverage and a verdict on them out.

Tables only. Neither the model nor its training imports this room.
"""
