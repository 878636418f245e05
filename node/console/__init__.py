"""The operator's view of a node: a board of what is going on, and HTTP, metrics and a page that show it."""
