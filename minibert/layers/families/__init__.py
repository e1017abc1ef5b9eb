"""The layers of single families of BERT's relatives."""
