"""The hash that everything is told apart by."""

try:
    # What hashlib has under that name; hashlib itself takes 5 ms to import, for OpenSSL.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

__all__ = ["blake2b"]
