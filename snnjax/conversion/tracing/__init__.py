"""Models of other libraries: a JAX function read as layers of this package."""
