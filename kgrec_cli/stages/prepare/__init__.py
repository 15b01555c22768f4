"""`kgrec prepare`: raw interactions, a graph and links in; the files of a data set out.

`run` goes through the steps, `graph` chooses and reads the knowledge graph, `links` ties items to
its entities, `sources` says what can be downloaded. Files are written here and nowhere else.
"""
