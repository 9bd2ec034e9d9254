"""Prompts without a meaning: random words, no two requests alike, so that no prefix cache answers by accident."""

from __future__ import annotations

import random

WORDS = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
    "car",
    "city",
    "name",
    "president",
    "team",
    "minute",
    "idea",
    "body",
    "back",
    "parent",
    "face",
    "level",
    "office",
]
"""Common nouns; each is one token in most vocabularies."""


class Prompts:
    """A source of prompts.

    Args:
        words: length of a prompt in words, which is about its number of tokens.
        shared: words at the beginning that all prompts have in common, as a system prompt.
        seed: the same seed gives the same prompts.
    """

    def __init__(self, words: int, shared: int = 0, seed: int = 0) -> None:
        self._source = random.Random(seed)
        self._prefix = " ".join(random.Random(seed + 1).choices(WORDS, k=shared))
        self._words = words

    def new(self) -> str:
        """Return the next prompt."""
        own = " ".join(self._source.choices(WORDS, k=max(1, self._words)))
        return f"{self._prefix} {own}".strip()

    def follow_up(self, before: str, answer: str) -> str:
        """Return the next turn of a conversation: what was said before, and a new question."""
        return f"{before}{answer} {self.new() if not self._prefix else self._own()}"

    def _own(self) -> str:
        return " ".join(self._source.choices(WORDS, k=max(1, self._words)))
