"""What teams do instead of starting a server: a dict behind `unittest.mock`.

Only for comparison: the lane `mock` shows what such tests see of the stores' bugs, and what not.
"""
