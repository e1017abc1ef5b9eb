"""BERT's relatives: one file for each family, which begins with its differences from BERT."""
