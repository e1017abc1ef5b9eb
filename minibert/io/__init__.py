"""Strict reading of text and JSON, atomic writing, and locks on the folders of runs."""
