"""From numbers to pages: notebooks executed when stale, and the Sphinx extension around them.

`scalebook.publish.sphinx_ext` is the extension that ``_config.yml`` names; with it plain
``jb build .`` executes what is stale and builds the pages. `scalebook.publish.build` is the
same behind ``scalebook book``.
"""
