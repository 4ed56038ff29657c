"""Console blocks of the Markdown pages: run as they are printed, and rewritten where their outputs have changed."""
