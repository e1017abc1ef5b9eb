"""The built-in corpus: documentation that is installed with Python and NumPy."""
