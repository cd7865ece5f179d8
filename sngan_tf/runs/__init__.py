"""What a run is made of: its fields, its parts, its folder and its records.

Nothing here decides what is done with a run; that is for `modes`.
"""
