"""Motions before they are on the topic: files that members pass around, read, and sign one after the other."""
