"""Data: the text that is on every machine, text files, labelled tables, and what is made of them."""
