"""Fuzzing: one small target a parser, used by hypothesis, by a long run of mutations, and by atheris."""
