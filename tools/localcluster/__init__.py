"""Build and run the cluster that tests and demos of this project use: `python3 -m tools.localcluster --help`.

Only the standard library is imported here: these modules run before any Python environment exists.
"""
