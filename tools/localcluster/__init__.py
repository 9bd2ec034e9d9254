"""The cluster that every test and demo of this project runs on: `python3 -m tools.localcluster --help`.

Only the standard library is imported here: these modules run before any Python environment exists.
"""
