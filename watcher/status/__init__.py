"""What is known now, as one document.

`builder` makes it from the store, `document` has its records, `status_file` writes it to `status.json` and reads it
back, `bars` turns that file into a line for status bars with the standard library alone.
"""
