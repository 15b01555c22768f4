"""GRU4RecKG and its GRU: item ids in, a vector for each position and scores of all items out.

Tensors only; nothing is known of files, titles or users.
"""
