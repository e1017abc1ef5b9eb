"""Data: the text that is on every machine, text files and tables, and what is made of them."""
