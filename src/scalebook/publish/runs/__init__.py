"""A page for every run, and the explorer over all of them.

``content`` is what is known of one run, as HTML and numbers; ``data`` writes it beside the book, a
script a run; ``pages`` makes the two pages that read them; ``links`` leads there from numbers and
tables. `scalebook.publish.report` is the same page of one run as a file to mail.
"""
