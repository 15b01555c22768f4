"""What users bring: logs, item lists, triples and links in any common layout, as tables.

In: a file, a folder, an archive. Out: polars tables of tokens, and a line for each bad row.
Nothing is written, and nothing is known of data sets or models.
"""
