"""One file or folder per command, of the same name: files in, files out.

In: settings, the working folder (`folder`), and `on_event`, which gets progress, notes and
warnings; `device` and `threads` are None as in training. Out: files, and a result object to show.
A stage never prints and never exits; it calls `dataset`, `runs`, `core` and `formats`.
"""
