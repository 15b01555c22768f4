"""One thin file per command: options in, a stage called, its result shown.

In: what was typed. Out: text by `console`, or JSON. No file is read or written here, and heavy
packages are imported inside the functions alone.
"""
