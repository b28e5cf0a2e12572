"""Integer networks once more, written from docs/integers.md alone: reader, interpreter, checker.

It shares no line with what makes and runs the files, and needs Python and NumPy only, so that an
error would have to be made twice to go unseen.
"""
