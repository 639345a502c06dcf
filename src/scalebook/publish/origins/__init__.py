"""The page of origins: where each number, run, figure and table of a book comes from."""
