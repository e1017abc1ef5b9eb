"""Write what is generated in `docs/`: outputs of code blocks, figures, reference, notebooks."""
