"""Mutation tests: a mistake is made on purpose, and the tests must notice."""
