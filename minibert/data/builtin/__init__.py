"""The built-in corpus: the documentation installed with Python and NumPy."""
