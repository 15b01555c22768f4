"""One file or folder per command, of the same name: files in, files out.

In: settings, the working folder, a listener for progress. Out: files, and a result object to show.
A stage never prints and never exits; it calls `dataset`, `runs`, `core` and `formats`.
"""
