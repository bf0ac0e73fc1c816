"""From the bytes of a file to plain data, and back to the line where a part of it stands."""
