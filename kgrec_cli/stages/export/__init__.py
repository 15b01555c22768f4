"""`kgrec export`: a run in, files for other programs out; each format is a file here.

`recbole` writes a checkpoint, `vectors` tables of vectors, `onnx` a graph that `onnx_graph` builds.
"""
