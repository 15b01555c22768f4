"""`kgrec prepare`: raw interactions, a graph and links in; the files of a data set out.

`run` goes through the steps and writes, `graph` chooses the knowledge graph (`sources` lists what
can be downloaded), `links` reads it and ties the items to its entities. `starter_files` leaves
`kgrec.yaml` and `hyper.test`.
"""
