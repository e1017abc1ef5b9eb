"""The mathematics of single families of BERT's relatives."""
