"""One file or folder per command, of the same name: files in, files out; progress as events.

In all of them `folder` is the working folder, `device` and `threads` are None as in training, and
`on_event` gets progress, notes and warnings.
"""
