"""`kgrec prepare`: raw interactions, a graph and links in; the files of a data set out.

`run` goes through the steps, `write` writes. `graph` plans where the knowledge graph comes from,
`load` calls its reader (`links`, `dump`, `wikidata`), `join` and `metadata` add to it.
"""
