"""Seeded random specs over the whole schema: valid ones, changes of them, and hostile ones."""
