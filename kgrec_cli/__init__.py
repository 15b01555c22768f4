"""kgrec: from raw interactions and a knowledge graph to a trained, measured GRU4RecKG."""

__version__ = "0.1.0"
