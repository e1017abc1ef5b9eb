"""Data: corpora, tables, packing, masking, sampling and splits."""
