"""What is known now, as one document.

`document` has its records, `builder` makes it from the store and writes it to `status.json`, `bars` turns that file
into a line for status bars with the standard library alone.
"""
