"""Algorithms of products, devices, memory, compiled programs and checks of arguments."""
