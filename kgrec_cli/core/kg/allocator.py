"""One switch of the C library's memory allocator, for loops that make the same large arrays again.

Called before such a loop; it changes speed, never results.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024  # glibc refuses more
_KEPT = 1024 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Tells glibc to keep up to 1 GB of freed memory rather than give it back at once.

    A training step frees gradients and activations of some 10 MB each and asks for the same again.
    By default glibc returns them to the system in between, and the system hands out zeroed pages
    anew: on a virtual machine that made TransE epochs 1.2 to 6 times as long.

    Returns:
        True when the C library took the settings; False where it has none (not glibc).
    """
    try:
        library = ctypes.CDLL(None)
        took_mmap = library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        took_trim = library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
    except (AttributeError, OSError, TypeError):
        return False
    return bool(took_mmap and took_trim)
