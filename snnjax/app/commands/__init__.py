"""Commands: each parses options, calls one stage and prints its result.

`cli` imports a module here only when one of its commands is called, because these import JAX.
"""
